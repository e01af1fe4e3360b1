"""The configuration file: options of the cluster's commands, by their names, in YAML."""

import types
import typing
from collections.abc import Hashable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer
import yaml

from nightreel.cli import options
from nightreel.cli.output import UsageError

# Said anew each time, or meaningless in the file itself.
_NOT_IN_A_FILE = frozenset({"config", "token"})
_NEVER_IN_A_FILE = _NOT_IN_A_FILE | {"yes", "json"}


class _Loader(yaml.SafeLoader):
    """YAML as it is specified: a mapping that has a key twice is an error, where PyYAML takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping; ConstructorError when a key stands in it twice."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def apply(context: typer.Context, path: Path | None) -> Path | None:
    """Take the file's values as defaults: what the command line or the environment says goes first."""
    if path is not None:
        context.default_map = read_config(path)
    return path


def read_config(path: Path) -> dict[str, Any]:
    """The options in the file, by the names of the commands' parameters.

    Raises UsageError, naming the file and the key, for what is no option or no value of it.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise UsageError(f"--config {path} can not be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is no YAML: {' '.join(str(error).split())}") from error
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise UsageError(f"--config {path} holds no options: write lines such as `workers: 4`")
    known = known_options()
    found: dict[str, Any] = {}
    for key, value in document.items():
        name = _parameter("yes" if key is True else str(key), known, path)  # YAML's own word for true
        if name in found:
            raise UsageError(f"--config {path} gives {key!r} twice, once by a former name")
        found[name] = _checked(value, known[name], key=str(key), path=path)
    return found


def known_options() -> dict[str, tuple[type[Any], bool]]:
    """Every option that may stand in the file: the kind of its value, and whether it may be repeated."""
    return {
        field.name: _kind(annotation)
        for group in options.GROUPS
        for field, annotation in zip(fields(group), typing.get_type_hints(group).values(), strict=True)
        if field.name not in _NOT_IN_A_FILE
    }


def _kind(annotation: Any) -> tuple[type[Any], bool]:
    if isinstance(annotation, types.UnionType):
        annotation = next(part for part in annotation.__args__ if part is not type(None))
    if typing.get_origin(annotation) is list:
        return annotation.__args__[0], True
    return annotation, False


def _parameter(key: str, known: Mapping[str, Any], path: Path) -> str:
    name = options.current_name(key.replace("_", "-")).replace("-", "_")
    if name in known:
        return name
    if name in _NEVER_IN_A_FILE:
        raise UsageError(f"--config {path}: {key!r} may not stand in a file: say it on the command line, each time")
    names = sorted(field.replace("_", "-") for field in known)
    near = get_close_matches(key.replace("_", "-"), names, n=1)
    hint = f"the nearest is {near[0]!r}" if near else f"there are {', '.join(names)}"
    raise UsageError(f"--config {path}: there is no option {key!r} for a file; {hint}")


def _checked(value: Any, kind: tuple[type[Any], bool], *, key: str, path: Path) -> Any:
    of, repeated = kind
    if not repeated:
        return _one(value, of, key=key, path=path)
    if isinstance(value, Mapping):  # KEY=VALUE options
        value = [_pair(name, part, key=key, path=path) for name, part in value.items()]
    return [_one(part, of, key=key, path=path) for part in (value if isinstance(value, list) else [value])]


def _pair(name: Any, value: Any, *, key: str, path: Path) -> str:
    if not isinstance(name, str):
        raise UsageError(f"--config {path}: {key} has the key {name!r}, which is no text: put it in quotes")
    # A price is a number; a number for anything else may have lost digits on its way through YAML.
    number = key == "price" and isinstance(value, float)
    return f"{name}={value if number else _one(value, str, key=f'{key} {name}', path=path)}"


def _one(value: Any, of: type[Any], *, key: str, path: Path) -> Any:
    if of is bool:
        fits = isinstance(value, bool)
    elif of in (int, float):
        fits = isinstance(value, int if of is int else int | float) and not isinstance(value, bool)
    else:
        fits = isinstance(value, str | int) and not isinstance(value, bool)
    if not fits:
        expected = {bool: "true or false", int: "a whole number", float: "a number"}.get(
            of, "a text (put it in quotes)"
        )
        raise UsageError(f"--config {path}: {key} must be {expected}, not {value!r}")
    if of is Path:
        # As it would be from the command line, but from where the file lies: it is to mean the same from anywhere.
        return str(path.parent.resolve() / Path(str(value)).expanduser())
    return value if of in (bool, int, float) else str(value)
