"""What the operator sets once for all nights: one Airflow Variable that holds a JSON object."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Self

from airflow.sdk import Variable

VARIABLE = "nightreel_settings"
_WHERE = f"the Airflow Variable {VARIABLE}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The Airflow Variable `nightreel_settings`; every field may be left out."""

    form: Mapping[str, Any] = field(default_factory=dict)
    """Defaults of the trigger form, by field. The nights that come by schedule run with them."""
    publish_within_hours: float = 3.0
    """A run that has not ended so long after its logical date is told about."""
    approval_hours: float = 1.0
    """How long a run above the cap waits for somebody to approve it, before it fails."""
    skip_without_new_ratings: bool = False
    """Whether a night is skipped when the site's model was trained on the very ratings that there are now."""
    ratings_per_visitor: int = 500
    """At most so many of a visitor's ratings count, the latest ones."""
    prices: Mapping[str, Any] = field(default_factory=dict)
    """USD per hour by instance type, instead of AWS's own."""
    spark: Mapping[str, str] = field(default_factory=dict)
    """Settings of Spark for the job, such as spark.executor.memory, besides those that suit the machines."""
    archive: str | None = None
    """s3://bucket/prefix under which logs, report and bundle of each run are kept besides."""

    def __post_init__(self) -> None:
        for name, high in (("publish_within_hours", 48), ("approval_hours", 12), ("ratings_per_visitor", 100_000)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= high:
                raise ValueError(f"{_WHERE}: {name} must be a number above 0 and up to {high}, not {value!r}")
        if not isinstance(self.spark, Mapping) or not all(
            name.startswith("spark.") and isinstance(value, str) for name, value in self.spark.items()
        ):
            raise ValueError(f'{_WHERE}: spark must be an object such as {{"spark.executor.memory": "6g"}}')
        if self.archive is not None and not str(self.archive).startswith("s3://"):
            raise ValueError(f"{_WHERE}: archive must be s3://bucket/prefix, not {self.archive!r}")

    @classmethod
    def load(cls) -> Self:
        """Read the Variable; ValueError, naming what is wrong, when it can not be used."""
        text = Variable.get(VARIABLE, default=None)
        return cls.parse(text) if text else cls()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the Variable's text."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{_WHERE} is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise ValueError(f"{_WHERE} must be a JSON object, not {type(found).__name__}")
        known = [one.name for one in fields(cls)]
        if unknown := sorted(set(found) - set(known)):
            raise ValueError(f"{_WHERE} has {', '.join(unknown)}; supported: {', '.join(known)}")
        return cls(**found)

    @property
    def publish_within(self) -> timedelta:
        """`publish_within_hours` as a time span."""
        return timedelta(hours=self.publish_within_hours)

    @property
    def approval(self) -> timedelta:
        """`approval_hours` as a time span."""
        return timedelta(hours=self.approval_hours)
