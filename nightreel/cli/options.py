"""Options that commands share: each is described once, and groups of them travel as one value."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, dataclass_transform, get_type_hints

import typer

from nightreel.cli.output import usage_checked
from nightreel.cluster.spec import check_name


def checked_name(name: str | None) -> str | None:
    """The name, if one is given; UsageError when no cluster can have it."""
    with usage_checked():
        return name and check_name(name)


Name = Annotated[
    str, typer.Argument(callback=checked_name, help="The cluster's name, which everything of it carries in a tag.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, and all else on standard error.")]
Total = Annotated[int, typer.Option("--to", min=1, help="How many workers there are to be afterwards, in all.")]
Hours = Annotated[
    float, typer.Option(min=0.05, max=24 * 7, help="After so many hours from now the nodes power themselves off.")
]

FORMER_NAMES = {
    "slaves": "workers",
    "num-slaves": "workers",
    "copy-dir": "ship",
    "copy-master": "ship-to-master",
    "ec2-access-key": "access-key-file",
    "remote-server": "server",
    "ec2-key-name": "key-pair",
    "ec2-identity-file": "identity-file",
    "ec2-instance-type": "instance-type",
    "ec2-region": "region",
    "ec2-ami": "ami",
    "ec2-user": "user",
    "ec2-subnet-id": "subnet",
    "ec2-instance-profile-name": "instance-profile",
    "ec2-min-root-ebs-size-gb": "volume-gb",
    "ec2-tag": "tag",
    "ec2-user-data": "user-data",
    "ec2-authorize-access-from": "operator-cidr",
    "spark-download-source": "spark-source",
    "assume-yes": "yes",
}
"""Names by which the first launcher, and flintrock, call options that have another name here; all are understood."""

GROUPS: list[type[Any]] = []
"""Every group of options. What stands in the configuration file is one of theirs."""


def current_name(token: str) -> str:
    """The name that an option has now, without its dashes."""
    return FORMER_NAMES.get(token, token)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def option_group[T](group: type[T]) -> type[T]:
    """Make a class a group of options: its fields, annotated as a command's parameters are, are the options."""
    made = dataclass(frozen=True, kw_only=True)(group)
    GROUPS.append(made)
    return made


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with each parameter that is a group of options replaced by the options of the group."""
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    groups = {one.name: one.annotation for one in parameters if one.annotation in GROUPS}
    options = [option for group in groups.values() for option in _options(group)]

    @functools.wraps(command)
    def call(**given: Any) -> None:
        made = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **made)

    shown = [*(one for one in parameters if one.name not in groups), *options]
    call.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in shown}
    return call


def _options(group: type[Any]) -> list[inspect.Parameter]:
    annotations = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=annotations[field.name]
        )
        for field in fields(group)
    ]


def add(app: typer.Typer, *commands: Callable[..., None]) -> None:
    """Add these commands, named as their functions, to the command line."""
    for command in commands:
        app.command(context_settings={"token_normalize_func": current_name})(grouped(command))


def pairs(texts: list[str] | None, *, option: str) -> dict[str, str]:
    """The pairs of a repeated KEY=VALUE option; ValueError, naming the option, for anything else."""
    found = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ValueError(f"{option} {text!r} is no KEY=VALUE")
        found[key] = value
    return found
