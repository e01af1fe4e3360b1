"""The trigger form: every parameter with its bounds, and what they mean for the job."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from nightreel.airflow.settings import VARIABLE

if TYPE_CHECKING:
    from nightreel.bundle.schema import BundleMetadata

_JOB_OPTIONS = {
    "rank": "--rank",
    "iterations": "--iterations",
    "regularisation": "--reg",
    "alpha": "--alpha",
    "like_threshold": "--like-threshold",
    "half_like": "--half-like",
    "kinship": "--kinship",
    "seed": "--seed",
    "search": "--search",
}
DATA, TRAINING, MACHINES, MONEY, PUBLISHING = "Data", "Training", "Machines", "Money", "Publishing"
LAST_WINNER, JOB_DEFAULTS = "last winner", "job defaults"
ASK, REFUSE = "ask", "refuse"


def form(defaults: Mapping[str, Any] | None = None) -> dict[str, Param]:
    """The parameters of the nightly run, with the operator's own defaults in place of ours.

    ValueError for a default of a field that there is not.
    """
    fields = _data() | _training() | _machines() | _money() | _publishing()
    given = dict(defaults or {})
    if unknown := sorted(set(given) - set(fields)):
        raise ValueError(
            f"the Airflow Variable {VARIABLE}: the form has no {', '.join(unknown)}; it has {', '.join(fields)}"
        )
    return {
        name: Param(
            given.get(name, field["default"]), **{key: value for key, value in field.items() if key != "default"}
        )
        for name, field in fields.items()
    }


def _data() -> dict[str, dict[str, Any]]:
    return {
        "dataset": {
            "default": None,
            "type": ["null", "string"],
            "title": "Ratings",
            "description": "A folder on the workers, or s3://bucket/prefix. Empty: the Airflow Variable "
            "`nightreel_ratings`.",
            "section": DATA,
        },
        "visitors": {
            "default": True,
            "type": "boolean",
            "title": "Learn from visitors",
            "description": "Take what consenting visitors of the site have rated as well.",
            "section": DATA,
        },
    }


def _training() -> dict[str, dict[str, Any]]:
    return {
        "hyperparameters": {
            "default": LAST_WINNER,
            "type": "string",
            "enum": [LAST_WINNER, JOB_DEFAULTS],
            "title": "Empty fields below",
            "description": f"What a training field that is left empty means: what the last search found, where there "
            f"was one whose model was published ({LAST_WINNER}), or always the job's own default.",
            "section": TRAINING,
        },
        "rank": _optional("integer", 8, 256, "Rank", "Factors per movie."),
        "iterations": _optional("integer", 1, 50, "Iterations", "Sweeps of alternating least squares."),
        "regularisation": _optional("number", 0.0001, 10, "Regularisation", "MLlib's regParam."),
        "alpha": _optional("number", 0.01, 1000, "Alpha", "Weight of a like against everything not rated."),
        "like_threshold": _optional("number", 0.5, 5, "Like threshold", "Ratings from here on count as likes."),
        "half_like": _optional("number", 0, 0.99, "Half-like", "Worth of a rating up to a star below a like."),
        "kinship": _optional("number", 0, 3, "Kinship", "Weight of genres and years beside who likes what."),
        "search": _optional("integer", 1, 200, "Search", "How many recipes to try first; the best one trains."),
        "seed": _optional("integer", 0, 2**31 - 1, "Seed", "Of the initial factors and of the evaluation's split."),
    }


def _optional(kind: str, minimum: float, maximum: float, title: str, description: str) -> dict[str, Any]:
    return {
        "default": None,
        "type": ["null", kind],
        "minimum": minimum,
        "maximum": maximum,
        "title": title,
        "description": f"{description} {minimum:g} to {maximum:g}; may be left empty.",
        "section": TRAINING,
    }


_TYPE = r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$"


def _machines() -> dict[str, dict[str, Any]]:
    return {
        "workers": {
            "default": 2,
            "type": "integer",
            "minimum": 1,
            "maximum": 50,
            "title": "Workers",
            "description": "Machines that compute; the master comes on top.",
            "section": MACHINES,
        },
        "instance_type": {
            "default": "m7i.large",
            "type": "string",
            "pattern": _TYPE,
            "title": "Instance type",
            "description": "Of the master and of every worker; 4 GiB of memory or more.",
            "section": MACHINES,
        },
        "fallback_types": {
            "default": [],
            "type": "array",
            "items": {"type": "string", "pattern": _TYPE},
            "title": "Instance types to fall back on",
            "description": "Where EC2 has none of the first, in this order; one a line.",
            "section": MACHINES,
        },
        "market": {
            "default": "on-demand",
            "type": "string",
            "enum": ["on-demand", "spot", "spot-or-on-demand"],
            "title": "Market",
            "description": "How the workers are bought; the master is always on demand.",
            "section": MACHINES,
        },
        "lifetime_hours": {
            "default": 8,
            "type": "number",
            "minimum": 8,  # what all time-outs and retries may take together
            "maximum": 48,
            "title": "Lifetime in hours",
            "description": "After it every machine powers itself off, whatever else happens.",
            "section": MACHINES,
        },
    }


def _money() -> dict[str, dict[str, Any]]:
    return {
        "cost_cap": {
            "default": 10,
            "type": "number",
            "minimum": 0,
            "maximum": 10_000,
            "title": "Cost cap in USD",
            "description": "Of the worst case: all machines until the end of their lifetime, at the dearest price.",
            "section": MONEY,
        },
        "above_cap": {
            "default": ASK,
            "type": "string",
            "enum": [ASK, REFUSE],
            "title": "Above the cap",
            "description": "Ask somebody to approve the run, and fail when nobody does in time; or refuse it at once. "
            "Nothing is launched before.",
            "section": MONEY,
        },
    }


def _publishing() -> dict[str, dict[str, Any]]:
    return {
        "publish": {
            "default": True,
            "type": "boolean",
            "title": "Publish",
            "description": "Off: train, judge and keep the bundle, and leave the site alone.",
            "section": PUBLISHING,
        },
        "override_gate": {
            "default": False,
            "type": "boolean",
            "title": "Publish in spite of the gate",
            "description": "On: what the quality gate has against the model is logged, and it is published.",
            "section": PUBLISHING,
        },
    }


SEARCHED = {
    "rank": "rank",
    "regularisation": "reg",
    "alpha": "alpha",
    "half_like": "half_like",
    "kinship": "kinship",
}
"""The fields that a search finds a value for, and how the model's parameters call them."""


def last_winner(metadata: "BundleMetadata") -> dict[str, Any]:
    """The fields' values that a search found for this model; none when it was trained without a search."""
    if not metadata.details.get("search"):
        return {}
    return {field: metadata.parameters[name] for field, name in SEARCHED.items() if name in metadata.parameters}


def job_arguments(params: Mapping[str, Any]) -> list[str]:
    """The job's command-line options for the fields of the form that were filled in."""
    given = ((option, params.get(name)) for name, option in _JOB_OPTIONS.items())
    return [word for option, value in given if value is not None for word in (option, str(value))]
