"""The visitor's page: one form, its answer, and a link that holds both."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from nightreel.recommend.taste_model import DEFAULT_TASTE, parse_taste
from recommender import slots as form
from recommender.answers import MOST_SEEDS, Question, QuestionError, Seed, recommend
from recommender.api import MODEL_HEADER
from recommender.cards import card
from recommender.model_store import ModelUnavailable, ServedModel, store
from recommender.search import fold, search

TEMPLATE = "recommender/page.html"
EXAMPLE = (("Toy Story", 1995), ("The Lion King", 1994), ("Aladdin", 1992))
RATING_WORDS = ((1, "hated it"), (2, "disliked it"), (3, "so-so"), (4, "liked it"), (5, "loved it"))


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the form and, once it names movies, what to watch next."""
    try:
        model = store.current()
    except ModelUnavailable as error:
        return render(request, TEMPLATE, {"unavailable": str(error)}, status=503)
    if model is None:
        return render(request, TEMPLATE, {"unpublished": True})
    response = _submitted(request, model) if form.is_submitted(request.GET) else _linked(request, model)
    response.headers[MODEL_HEADER] = model.sha256
    return response


def _submitted(request: HttpRequest, model: ServedModel) -> HttpResponse:
    """Turn a filled form into its link, or show it again with what is left to say."""
    slots = form.submitted_slots(request.GET, model)
    question = Question(seeds=form.seeds_of(slots), taste=_lenient_taste(request.GET))
    if form.is_settled(slots):
        return HttpResponseRedirect(f"{reverse('page')}?{question.query_string()}")
    return _render(request, model, {"slots": slots, "taste": question.taste})


def _lenient_taste(query: QueryDict) -> float:
    try:
        return parse_taste(query.get("taste", ""))
    except ValueError:
        return DEFAULT_TASTE


def _linked(request: HttpRequest, model: ServedModel) -> HttpResponse:
    """Show the page that a link describes."""
    try:
        question = Question.parse(request.GET)
    except QuestionError as error:
        context = {"slots": form.empty_slots(), "taste": DEFAULT_TASTE, "mistake": str(error)}
        return _render(request, model, context, status=400)
    slots = form.linked_slots(question, model)
    context = {"slots": slots, "taste": question.taste}
    seeds = form.seeds_of(slots)
    if seeds:
        asked = Question(seeds=seeds, taste=question.taste, count=question.count)
        context["cards"] = [card(entry) for entry in recommend(model, asked)]
    return _render(request, model, context)


def _render(request: HttpRequest, model: ServedModel, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    named = any(slot.title for slot in context["slots"])
    shared = {
        "model": model,
        "most_seeds": MOST_SEEDS,
        "rating_words": RATING_WORDS,
        "example": None if named else _example(model),
    }
    return render(request, TEMPLATE, shared | context, status=status)


def _example(model: ServedModel) -> str | None:
    """Return the query of the example, when the model knows its movies."""
    seeds = []
    for title, year in EXAMPLE:
        found = search(f"{title} ({year})", dataset=model.dataset, known=model.knows, limit=1)
        if not found or found[0].year != year or found[0].search_key != fold(title):
            return None
        seeds.append(Seed(movie_id=found[0].movie_id, rating=5))
    return Question(seeds=tuple(seeds)).query_string()
