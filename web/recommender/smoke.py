"""What a model has to answer before it may serve."""

from __future__ import annotations

import logging

import numpy as np
from django.http import QueryDict

from nightreel.bundle.reader import Bundle
from nightreel.bundle.schema import BundleError
from nightreel.recommend.taste_model import TASTES
from recommender.answers import Question, recommend
from recommender.model_store import ServedModel
from recommender.models import Movie, StoredBundle

logger = logging.getLogger(__name__)


class ActivationError(ValueError):
    """The bundle cannot serve; the one before goes on."""


def ask_the_file(stored: StoredBundle) -> Bundle:
    """Open the file as a worker would and score with it; ActivationError when it fails."""
    try:
        model = ServedModel.open(stored)
        best = _best_known(model.bundle)
        for taste in TASTES.values():
            for ratings in ([5.0] * len(best), [1.0] * len(best)):
                scores = model.taste_model.score(seeds=best, ratings=ratings, taste=taste)
                if not np.isfinite(scores.values).all():
                    raise ActivationError(f"The smoke query at taste {taste:g} gave scores that are not finite.")
                if len(model.bundle) > len(best) and not scores.top(10):
                    raise ActivationError(f"The smoke query at taste {taste:g} recommended nothing.")
        return model.bundle
    except ActivationError:
        raise
    except (BundleError, ValueError, ArithmeticError, OSError) as error:
        raise ActivationError(f"The smoke query failed: {error}") from error


def ask_as_a_visitor(stored: StoredBundle) -> None:
    """Ask a link's question, and the database for its movies; ActivationError when either fails.

    Whatever goes wrong counts, also what nobody thought of: the alternative is that visitors meet it.
    """
    try:
        model = ServedModel.open(stored)
        best = _best_known(model.bundle)
        ids = model.bundle.movie_ids[best].tolist()
        answer = recommend(model, Question.parse(QueryDict("&".join(f"seed={movie_id}:5" for movie_id in ids))))
        lacking = set(ids) - set(Movie.objects.by_movie_id(model.dataset, ids))
    except Exception as error:
        logger.exception("bundle %s failed as a visitor would see it", stored.sha256)
        raise ActivationError(f"The smoke query as a visitor failed: {error!r}.") from error
    if not answer and len(model.bundle) > len(best):
        raise ActivationError("The smoke query as a visitor was answered with nothing.")
    if lacking:
        raise ActivationError(f"The movies {sorted(lacking)} did not get into the database, so nobody could find them.")


def _best_known(bundle: Bundle) -> list[int]:
    rows: list[int] = np.argsort(-bundle.rating_counts, kind="stable")[:3].tolist()
    return rows
