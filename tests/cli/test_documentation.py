"""The page about the command line is complete."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from nightreel.cli import config, options
from nightreel.cli.main import app

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "command-line.md").read_text()


def commands(command, path=()) -> Iterator[tuple[str, list]]:
    if not hasattr(command, "commands"):
        yield " ".join(path), [one for one in command.params if one.param_type_name == "option"]
        return
    for name, below in command.commands.items():
        yield from commands(below, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))


def mentions(word: str) -> bool:
    return any(f"`{word}{end}" in PAGE for end in ("`", " "))


@pytest.mark.parametrize("command", ALL)
def test_every_command_and_option_is_documented(command):
    assert mentions(command)
    names = {name for option in ALL[command] for name in (*option.opts, *option.secondary_opts)}
    assert not {name for name in names - {"--help"} if not mentions(name)}


def test_every_former_name_is_documented():
    assert not {name for name in options.FORMER_NAMES if not mentions(f"--{name}")}


def test_every_option_of_the_configuration_file_is_listed():
    listed = PAGE.split("These options may stand in it:")[1].split("\n\n")[0]
    assert set(re.findall(r"`([a-z0-9-]+)`", listed)) == {name.replace("_", "-") for name in config.known_options()}


@pytest.mark.parametrize("command", ALL)
def test_every_option_says_what_it_does(command):
    assert not [option.name for option in ALL[command] if not option.help]
