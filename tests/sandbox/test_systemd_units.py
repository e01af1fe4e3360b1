"""Units and command lines by systemd's own rules."""

import shlex

import pytest

from nightreel.sandbox.systemd_units import (
    NotUnderstoodError,
    Schedule,
    exec_start,
    read_unit,
    schedule,
    seconds,
    shell_line,
    split,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ("'a b' \"c d\" e'f g'", ["a b", "c d", "ef g"]),
        (r'"say \"hi\"" \'x\' a\sb', ['say "hi"', "'x'", "a b"]),
        ("''", [""]),
        ("", []),
    ],
)
def test_split(text: str, words: list[str]) -> None:
    assert split(text) == words


@pytest.mark.parametrize("text", ["'open", r"\q", '"'])
def test_split_refuses(text: str) -> None:
    with pytest.raises(NotUnderstoodError):
        split(text)


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ("/bin/echo 100%% $$HOME", ["/bin/echo", "100%", "$HOME"]),
        ("-/bin/echo $NOTHING ${NOTHING}x a$kept", ["/bin/echo", "x", "a$kept"]),
        ("/bin/sh -c 'echo ${at:-1}'", ["/bin/sh", "-c", "echo "]),  # what the forgotten $$ comes to
        (":/bin/echo ${kept}", ["/bin/echo", "${kept}"]),
        ("@/bin/sh name -c x", ["/bin/sh", "-c", "x"]),
        ("/bin/date +%s", ["/bin/date", "+/bin/sh"]),  # and the forgotten %%
    ],
)
def test_shell_line_after_systemds_substitutions(line: str, argv: list[str]) -> None:
    assert shlex.split(shell_line(line)) == argv


def test_unit_with_comments_continuations_and_resets() -> None:
    unit = read_unit("# c\n[Service]\nExecStart=/bin/one\nExecStart=\nExecStart=/bin/two \\\n  three\nExecStart=four\n")
    assert exec_start(unit["Service"]) == "/bin/two three && four"


@pytest.mark.parametrize("text", ["[[[", "Name=before any section", "[A]\nwords"])
def test_unit_that_is_none(text: str) -> None:
    with pytest.raises(NotUnderstoodError):
        read_unit(text)


@pytest.mark.parametrize(("text", "value"), [("10", 10), ("1min 30s", 90), ("2h", 7200), ("500ms", 0.5), ("1.5m", 90)])
def test_seconds(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "soon", "10 parsecs", "-5s"])
def test_seconds_refuses(text: str) -> None:
    with pytest.raises(NotUnderstoodError):
        seconds(text)


def test_schedule_once_after_boot() -> None:
    assert schedule({"OnBootSec": ["1h"]}) == Schedule(delay=3600)


@pytest.mark.parametrize("settings", [{}, {"OnUnitActiveSec": ["5s"]}, {"OnCalendar": ["daily"]}])
def test_schedule_refuses(settings: dict[str, list[str]]) -> None:
    with pytest.raises(NotUnderstoodError):
        schedule(settings)
