"""The trigger form: every parameter with its bounds, and what they mean for the job."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

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

TRAINING, MACHINES, PUBLISHING = "Training", "Machines", "Publishing"


def form() -> dict[str, Param]:
    """The parameters of the nightly run. An empty training field means the job's own default."""
    return {
        "workers": Param(2, type="integer", minimum=1, maximum=50, title="Workers", section=MACHINES),
        "instance_type": Param(
            "m7i.large",
            type="string",
            pattern=r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$",
            title="Instance type",
            description="Of the master and of every worker; 4 GiB of memory or more.",
            section=MACHINES,
        ),
        "lifetime_hours": Param(
            5,
            type="number",
            minimum=5,  # what all time-outs and retries may take together
            maximum=48,
            title="Lifetime in hours",
            description="After it every machine powers itself off, whatever else happens.",
            section=MACHINES,
        ),
        "rank": _optional("integer", 8, 256, "Rank", "Factors per movie."),
        "iterations": _optional("integer", 1, 50, "Iterations", "Sweeps of alternating least squares."),
        "regularisation": _optional("number", 0.0001, 10, "Regularisation", "MLlib's regParam."),
        "alpha": _optional("number", 0.01, 1000, "Alpha", "Weight of a like against everything not rated."),
        "like_threshold": _optional("number", 0.5, 5, "Like threshold", "Ratings from here on count as likes."),
        "half_like": _optional("number", 0, 0.99, "Half-like", "Worth of a rating up to a star below a like."),
        "kinship": _optional("number", 0, 3, "Kinship", "Weight of genres and years beside who likes what."),
        "search": _optional("integer", 1, 200, "Search", "How many recipes to try first; the best one trains."),
        "seed": _optional("integer", 0, 2**31 - 1, "Seed", "Of the initial factors and of the evaluation's split."),
        "publish": Param(
            True,
            type="boolean",
            title="Publish",
            description="Off: train, judge and keep the bundle, and leave the site alone.",
            section=PUBLISHING,
        ),
        "override_gate": Param(
            False,
            type="boolean",
            title="Publish in spite of the gate",
            description="On: what the quality gate has against the model is logged, and it is published all the same.",
            section=PUBLISHING,
        ),
    }


def _optional(kind: str, minimum: float, maximum: float, title: str, description: str) -> Param:
    return Param(
        None,
        type=["null", kind],
        minimum=minimum,
        maximum=maximum,
        title=title,
        description=f"{description} Empty: the job's default.",
        section=TRAINING,
    )


SEARCHED = {
    "rank": "rank",
    "regularisation": "reg",
    "alpha": "alpha",
    "half_like": "half_like",
    "kinship": "kinship",
}
"""The fields that a search finds a value for, and how the model's parameters call them."""


def last_winner(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The fields' values that a search found for a model with these parameters; none when it had no search."""
    if not parameters.get("searched"):
        return {}
    return {field: parameters[name] for field, name in SEARCHED.items() if name in parameters}


def job_arguments(params: Mapping[str, Any]) -> list[str]:
    """The job's command-line options for the fields of the form that were filled in."""
    given = ((option, params.get(name)) for name, option in _JOB_OPTIONS.items())
    return [word for option, value in given if value is not None for word in (option, str(value))]
