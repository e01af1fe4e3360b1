"""How log lines look: one JSON object a line for machines, or a line of text for people."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the caller gave as `extra`, without what Django adds for its own handlers."""
    given = {name: value for name, value in vars(record).items() if name not in _USUAL}
    return {name: value for name, value in given.items() if name not in {"request", "status_code", "server_time"}}


def moment(record: logging.LogRecord) -> str:
    """Return when it happened, in UTC."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class JsonFormatter(logging.Formatter):
    """One object a line; a line break in what was logged can not begin a second one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "at": moment(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **extras(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Time, level, logger and message, then name=value for what came with it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; control characters of a visitor's are shown and not sent to the terminal."""
        words = [f"{name}={value}" for name, value in extras(record).items()]
        line = " ".join([moment(record), record.levelname, f"{record.name}:", record.getMessage(), *words])
        line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line
