"""The three-seed evaluation: what an unseen user's three liked movies say about the rest of their likes.

A fifth of the users is held out; three of a held-out user's likes are the seeds, the others the targets. Beside
all movies, the long tail is judged by the protocol of Cremonesi et al. 2010: the most popular movies that together
hold a third of the training likes are taken out of answers and targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nightreel.recommend.baselines import Ease, FactorCosine, ItemKNN, MostPopular, Ranker
from nightreel.recommend.ratings import Likes
from nightreel.recommend.taste_model import BALANCED, HIGHEST_RATING, TASTES, TasteModel

HELD_OUT = 0.2
SEEDS = 3
MIN_TARGETS, MIN_TAIL_TARGETS = 5, 3
TOP = 10
HEAD_SHARE = 1 / 3
TRIPLES_PER_USER = 5
MAX_QUERIES = 2_000
SHRINK = 50
EASE_REGULARISATION = 1000
PROTOCOL = f"three seeds, {HELD_OUT:.0%} of users held out, top {TOP}, version 3"
CONFIDENCE = 1.96
"""Standard errors to each side of a figure that hold its true value 19 times out of 20."""

OURS = "Nightreel"
FAMILIAR = TASTES["familiar"]
AXES = ("", "tail_")

_DISCOUNTS = 1 / np.log2(np.arange(2, TOP + 2))

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Query:
    """One held-out user's seeds and targets, as movie indices."""

    user: int
    seeds: Rows
    targets: Rows


@dataclass(frozen=True)
class Split:
    """Training likes over all movies, and the queries of users who are not in them."""

    training: Likes
    queries: Sequence[Query]
    held_out: Rows
    seed: int

    @property
    def protocol(self) -> str:
        """How is judged, and by whom: what two models have to share for their figures to be compared."""
        return f"{PROTOCOL}, seed {self.seed}"


def split_users(likes: Likes, *, seed: int) -> Split:
    """Hold out a fifth of the users and draw their queries; the same likes and seed give the same split.

    Users who come at the end change next to nothing for the others: each user has a number and draws of its own.
    Otherwise one visitor more would let tomorrow's model be judged by other users than today's. Users without enough
    likes for seeds and targets ask nothing. With few users each asks several times, with many each asks once, so that
    there are at most MAX_QUERIES.
    """
    numbers = np.random.default_rng(seed).random(likes.user_count)
    held_out = np.argsort(numbers, kind="stable")[: int(likes.user_count * HELD_OUT)]
    able = [user for user in held_out.tolist() if likes.activity[user] >= SEEDS + MIN_TARGETS][:MAX_QUERIES]
    triples = max(1, min(TRIPLES_PER_USER, MAX_QUERIES // max(len(able), 1)))
    queries = []
    for user in sorted(able):
        rng = np.random.default_rng((seed, user))
        for _ in range(triples):
            shuffled = rng.permutation(likes.movies_of(user))
            queries.append(Query(user, shuffled[:SEEDS], shuffled[SEEDS:]))
    kept = ~np.isin(likes.users, held_out)
    training = Likes(likes.users[kept], likes.movies[kept], likes.user_count, likes.movie_count)
    return Split(training, queries, held_out, seed)


class TasteRanker:
    """Our model at one position of the slider, every seed rated with five stars."""

    def __init__(self, model: TasteModel, *, name: str, taste: float) -> None:
        self.name = f"{OURS}, {name}"
        self.taste = taste
        self._model = model

    def scores_for(self, seeds: Sequence[int]) -> npt.NDArray[Any]:
        """Return the served scores."""
        return self._model.score(seeds=seeds, ratings=[HIGHEST_RATING] * len(seeds), taste=self.taste).values


def head_of(popularity: Rows) -> npt.NDArray[np.bool_]:
    """Mark the most popular movies that together hold a third of all likes."""
    order = np.argsort(-popularity, kind="stable")
    share = np.cumsum(popularity[order]) / max(int(popularity.sum()), 1)
    head = np.zeros(len(popularity), dtype=bool)
    head[order[: int(np.searchsorted(share, HEAD_SHARE)) + 1]] = True
    return head


def best_rows(scores: npt.NDArray[Any], excluded: npt.NDArray[np.bool_]) -> Rows:
    """Return the TOP best rows that are not excluded, best first, equals by row."""
    values = np.where(excluded, -np.inf, scores)
    last = np.partition(values, -TOP)[-TOP] if len(values) > TOP else -np.inf
    candidates = np.flatnonzero(values >= last)
    order = candidates[np.lexsort((candidates, -values[candidates]))][:TOP]
    return order[np.isfinite(values[order])]


@dataclass(frozen=True)
class Judgement:
    """How one ranker did on one set of queries: NDCG@10 and recall@10 per query, and every movie it ever showed."""

    users: Rows
    ndcg: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    shown: int


def judge_ranker(ranker: Ranker, queries: Sequence[Query], *, hidden: npt.NDArray[np.bool_]) -> Judgement:
    """Ask all queries with the hidden movies taken out of answers and targets."""
    shown: set[int] = set()
    users, ndcg, recall = [], [], []
    for query in queries:
        targets = query.targets[~hidden[query.targets]]
        if len(targets) < (MIN_TAIL_TARGETS if hidden.any() else MIN_TARGETS):
            continue
        excluded = hidden.copy()
        excluded[query.seeds] = True
        answer = best_rows(ranker.scores_for(query.seeds.tolist()), excluded)
        hits = np.isin(answer, targets)
        possible = min(TOP, len(targets))
        users.append(query.user)
        ndcg.append(float((hits * _DISCOUNTS[: len(hits)]).sum() / _DISCOUNTS[:possible].sum()))
        recall.append(float(hits.sum() / possible))
        shown.update(answer.tolist())
    return Judgement(np.array(users, dtype=np.int64), np.array(ndcg), np.array(recall), len(shown))


def standard_error(users: Rows, values: npt.NDArray[np.float64]) -> float | None:
    """Return the standard error of the mean over queries; one user's queries count as one observation."""
    _, owner = np.unique(users, return_inverse=True)
    clusters = int(owner.max()) + 1 if len(owner) else 0
    if clusters < 2:
        return None
    sums = np.bincount(owner, weights=values - values.mean())
    return float(np.sqrt((sums**2).sum() * clusters / (clusters - 1)) / len(values))


def baselines_of(likes: Likes, factors: npt.NDArray[np.float32]) -> list[Ranker]:
    """Return what can be served from a movie-to-movie matrix, and the cosine of movie factors (m, f)."""
    knn = [ItemKNN(likes), ItemKNN(likes, shrink=SHRINK)]
    ease = [Ease(likes, regularisation=EASE_REGULARISATION)] if likes.movie_count <= Ease.MOST_MOVIES else []
    return [MostPopular(likes), *knn, *ease, FactorCosine(factors)]


Baselines = Callable[[Likes, npt.NDArray[np.float32]], Sequence[Ranker]]
"""Makes the baselines of training likes and movie factors."""


def no_baselines(_likes: Likes, _factors: npt.NDArray[np.float32]) -> list[Ranker]:
    """Return none: for who compares models with each other alone."""
    return []


def evaluate(
    split: Split, *, model: TasteModel, factors: npt.NDArray[np.float32], baselines: Baselines = baselines_of
) -> list[dict[str, Any]]:
    """Judge our model along the slider and every baseline on one split.

    `model` and `factors` come from a fit on the split's training likes, one row per movie index. Each row of the
    result has the model's name and position and its figures over all movies and over the tail, the latter with the
    prefix `tail_`: `ndcg` with `ndcg_low` and `ndcg_high`, its 95 % confidence interval over users; `ndcg_error`, the
    standard error of its difference to ours at the familiar end over all movies, in the tail to ours at `balanced`:
    the two figures that the gate looks at; and `ndcg_error_to_balanced`, that to ours at `balanced` everywhere.
    """
    head = head_of(split.training.popularity)
    hidden = dict(zip(AXES, (np.zeros_like(head), head), strict=True))
    ours = {taste: TasteRanker(model, name=name, taste=taste) for name, taste in TASTES.items()}
    asked: list[tuple[Ranker, float | None]] = [
        *((ranker, taste) for taste, ranker in ours.items()),
        *((ranker, None) for ranker in baselines(split.training, factors)),
    ]
    judged = [
        {axis: judge_ranker(ranker, split.queries, hidden=out) for axis, out in hidden.items()} for ranker, _ in asked
    ]
    place = {taste: judged[number] for number, taste in enumerate(ours)}
    reference = {"": place[FAMILIAR][""], "tail_": place[BALANCED]["tail_"]}
    rows = []
    for (ranker, taste), found in zip(asked, judged, strict=True):
        row: dict[str, Any] = {"model": ranker.name, "taste": taste, "protocol": split.protocol}
        for axis, judgement in found.items():
            row |= {f"{axis}{name}": value for name, value in _figures(judgement).items()}
            row[f"{axis}ndcg_error"] = _difference_error(judgement, reference[axis])
            row[f"{axis}ndcg_error_to_balanced"] = _difference_error(judgement, place[BALANCED][axis])
        rows.append(row)
    return rows


def _difference_error(one: Judgement, other: Judgement) -> float | None:
    return standard_error(one.users, one.ndcg - other.ndcg)


def _figures(judged: Judgement) -> dict[str, float | int | None]:
    asked = len(judged.ndcg)
    ndcg = float(judged.ndcg.mean()) if asked else None
    error = standard_error(judged.users, judged.ndcg)
    known = ndcg is not None and error is not None
    return {
        "ndcg": None if ndcg is None else round(ndcg, 4),
        # Where there is an error there is a mean, which the checker can not see.
        "ndcg_low": round(ndcg - CONFIDENCE * error, 4) if known else None,  # type: ignore[operator]
        "ndcg_high": round(ndcg + CONFIDENCE * error, 4) if known else None,  # type: ignore[operator]
        "recall": round(float(judged.recall.mean()), 4) if asked else None,
        "coverage": judged.shown,
        "queries": asked,
        "users": len(np.unique(judged.users)),
    }


def quality_table(evaluation: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the evaluation as rows of text, a header first, for a terminal or a log.

    NDCG@10 comes with half the width of its 95 % interval, where the evaluation has one.
    """
    header = ["model", "NDCG@10", "recall@10", "shown", "tail NDCG", "tail recall", "tail shown"]

    def text(value: Any) -> str:
        return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else f"{value:,}"

    def interval(row: Mapping[str, Any], name: str) -> str:
        high = row.get(f"{name}_high")
        return text(row.get(name)) + ("" if high is None else f" ±{high - row[name]:.3f}")

    def line(row: Mapping[str, Any]) -> list[str]:
        cells = [[interval(row, f"{a}ndcg"), text(row.get(f"{a}recall")), text(row.get(f"{a}coverage"))] for a in AXES]
        return [str(row["model"]), *cells[0], *cells[1]]

    return [header, *(line(row) for row in evaluation)]
