"""What a bundle's metadata says, as lines for people: it came from outside, so it is taken in any shape and bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_FACTS, MOST_WITHIN, LONGEST = 40, 20, 200
DEEPEST = 2
"""So many mappings within each other are shown as such; what lies deeper is put into words, and then left out."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A name with what it is, in words, or with facts of its own."""

    name: str
    text: str = ""
    parts: Sequence[Fact] = ()


def facts_of(mapping: Any) -> list[Fact]:
    """Return a mapping as facts; what is no mapping has none."""
    return _facts(mapping, most=MOST_FACTS, depth=1) if isinstance(mapping, Mapping) else []


def _facts(mapping: Mapping[Any, Any], *, most: int, depth: int) -> list[Fact]:
    found = [_fact(_name(name), value, depth) for name, value in list(mapping.items())[:most]]
    return [*found, *_left_out(len(mapping) - most)]


def _fact(name: str, value: Any, depth: int) -> Fact:
    """Nested mappings, also those of a list, become facts within; deeper ones words."""
    if isinstance(value, Mapping) and value and depth < DEEPEST:
        return Fact(name=name, parts=_facts(value, most=MOST_WITHIN, depth=depth + 1))
    if isinstance(value, list) and depth < DEEPEST and any(isinstance(entry, Mapping) for entry in value):
        parts = [Fact(name=f"{number}", text=_words(entry)) for number, entry in enumerate(value[:MOST_WITHIN], 1)]
        return Fact(name=name, parts=[*parts, *_left_out(len(value) - MOST_WITHIN)])
    return Fact(name=name, text=_words(value))


def _left_out(count: int) -> list[Fact]:
    return [Fact(name="…", text=f"{count:,} more")] if count > 0 else []


def _name(name: Any) -> str:
    return str(name).replace("_", " ")[:LONGEST]


def _words(value: Any, depth: int = 0) -> str:
    """Say a value in words, lists and mappings with commas, and no more than a few lines of it."""
    if isinstance(value, Mapping | list) and depth > DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        text = _joined(f"{_name(name)} {_words(inner, depth + 1)}" for name, inner in list(value.items())[:MOST_WITHIN])
    elif isinstance(value, list):
        text = _joined(_words(entry, depth + 1) for entry in value[:MOST_WITHIN])
    elif value is None or isinstance(value, bool):
        text = {None: "none", True: "yes", False: "no"}[value]
    elif isinstance(value, int):
        text = f"{value:,}"
    else:
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def _joined(texts: Iterable[str]) -> str:
    return ", ".join(texts) or "none"
