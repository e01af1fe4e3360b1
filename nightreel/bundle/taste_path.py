"""The slider's path from familiar to adventurous, as the bundle's metadata carries it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from nightreel.bundle.errors import BundleError


@dataclass(frozen=True, kw_only=True)
class TastePoint:
    """The model's free terms at one position of the slider.

    `beta` weighs the prior, `eta` is the power of a movie's own variance that its score is divided by, `noise` is s²,
    the variance of one rating around the preference behind it, and `kinship` is what the kinship columns of the
    embedding are multiplied by.
    """

    taste: float
    beta: float
    eta: float
    noise: float
    kinship: float = 1.0

    def problem(self) -> str | None:
        """Say what is wrong with this point, or None."""
        if not all(math.isfinite(value) for value in asdict(self).values()):
            return "has a number that is not finite"
        if self.beta < 0 or not 0 <= self.eta <= 1 or self.noise <= 0 or self.kinship < 0:
            return f"needs beta >= 0, 0 <= eta <= 1, noise > 0 and kinship >= 0, not {asdict(self)}"
        return None


@dataclass(frozen=True, kw_only=True)
class TastePath:
    """Points from taste 0 to 1, linear in between; `offset` is c in typical variances of a movie.

    The last `kinship_columns` of the embedding are what movies of a kind have in common, the others who likes them.
    """

    offset: float
    points: Sequence[TastePoint]
    kinship_columns: int = 0

    def __post_init__(self) -> None:
        positions = [point.taste for point in self.points]
        if len(positions) < 2 or positions[0] != 0 or positions[-1] != 1 or positions != sorted(set(positions)):
            raise BundleError(f"the taste path must rise from 0 to 1, but its positions are {positions}")
        if not (math.isfinite(self.offset) and self.offset > 0):
            raise BundleError(f"the taste path's offset must be above 0, not {self.offset}")
        if type(self.kinship_columns) is not int or self.kinship_columns < 0:
            raise BundleError(f"the taste path's kinship columns must be 0 or more, not {self.kinship_columns!r}")
        for point in self.points:
            if problem := point.problem():
                raise BundleError(f"the taste path's point at {point.taste} {problem}")

    def at(self, taste: float) -> TastePoint:
        """Return the point at a slider position in [0, 1]; ValueError outside of it."""
        if not 0 <= taste <= 1:
            raise ValueError(f"taste must lie between 0 (familiar) and 1 (adventurous), not {taste}")
        upper = next(n for n, point in enumerate(self.points) if n and taste <= point.taste)
        left, right = self.points[upper - 1], self.points[upper]
        share = (taste - left.taste) / (right.taste - left.taste)

        def between(a: float, b: float) -> float:
            return (1 - share) * a + share * b

        return TastePoint(
            taste=taste,
            beta=between(left.beta, right.beta),
            eta=between(left.eta, right.eta),
            noise=between(left.noise, right.noise),
            kinship=between(left.kinship, right.kinship),
        )

    def with_noise_times(self, factor: float) -> Self:
        """Return the same path with every noise multiplied."""
        points = [replace(point, noise=point.noise * factor) for point in self.points]
        return replace(self, points=points)

    def to_mapping(self) -> dict[str, Any]:
        """Return the form that the bundle's metadata stores."""
        points = [asdict(point) for point in self.points]
        return {"offset": self.offset, "points": points, "kinship_columns": self.kinship_columns}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read the stored form, also that of schema version 2, which has no kinship; BundleError when it is none."""
        try:
            points = [TastePoint(**{k: float(v) for k, v in point.items()}) for point in mapping["points"]]
            columns = mapping.get("kinship_columns", 0)
            return cls(offset=float(mapping["offset"]), points=points, kinship_columns=columns)
        except BundleError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise BundleError(f"the metadata's taste is not a path of points: {error}") from error
