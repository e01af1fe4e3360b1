"""Choose from a folder of wheels those that a node can use, by the tags in their names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nightreel.cluster.errors import BootstrapError


@dataclass(frozen=True)
class _Wheel:
    """A wheel's file name, taken apart (binary distribution format, "File name convention")."""

    path: Path
    distribution: str
    pythons: frozenset[str]
    abis: frozenset[str]
    platforms: frozenset[str]

    @classmethod
    def of(cls, path: Path) -> "_Wheel":
        distribution, *_, pythons, abis, platforms = path.stem.split("-")
        return cls(
            path,
            re.sub(r"[-_.]+", "-", distribution).lower(),
            *(frozenset(tags.split(".")) for tags in (pythons, abis, platforms)),
        )

    def suits(self, *, python: str, architecture: str) -> bool:
        """Whether CPython of this version on Linux with glibc can use it."""
        return self._suits_python(python) and any(
            platform == "any" or re.fullmatch(rf"(manylinux\w*|linux)_{re.escape(architecture)}", platform)
            for platform in self.platforms
        )

    def _suits_python(self, python: str) -> bool:
        major, minor = (int(part) for part in python.split("."))
        for tag in self.pythons:
            match = re.fullmatch(r"(py|cp)(\d)(\d*)", tag)
            if match is None or int(match[2]) != major:
                continue
            least = int(match[3] or 0)
            stable = match[1] == "py" or "abi3" in self.abis
            if least == minor or (stable and least <= minor):
                return True
        return False


def suitable_wheels(wheelhouse: Path, *, python: str, architecture: str, needed: Sequence[str]) -> list[Path]:
    """The wheels for CPython `python` on this machine architecture, one of each distribution.

    Raises BootstrapError when the folder lacks one that is `needed`, or has a distribution for other machines only.
    """
    wheels = [_Wheel.of(path) for path in sorted(wheelhouse.glob("*.whl")) if path.stem.count("-") >= 4]
    if not wheels:
        raise BootstrapError(f"{wheelhouse} holds no wheels: fill it with `make wheelhouse`")
    chosen = {
        wheel.distribution: wheel.path for wheel in wheels if wheel.suits(python=python, architecture=architecture)
    }
    foreign = sorted(wheel.path.name for wheel in wheels if wheel.distribution not in chosen)
    if foreign:
        raise BootstrapError(
            f"the wheels of {wheelhouse} are not for this node, which has Python {python} on {architecture}: "
            f"{', '.join(foreign)}. Fill the folder on such a machine with `make wheelhouse`"
        )
    # Of other modules it is not known which distribution brings them.
    missing = [name for name in needed if name in ("pyspark", "numpy", "pyarrow") and name not in chosen]
    if missing:
        raise BootstrapError(f"{wheelhouse} lacks {', '.join(missing)}: fill it with `make wheelhouse`")
    return sorted(chosen.values())
