"""The visitor's page: one form, its answer, and a link that holds both."""

from __future__ import annotations

import secrets
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from recommender import slots as form
from recommender.answers import answer
from recommender.api import MODEL_HEADER
from recommender.cards import cards
from recommender.fragments import chips
from recommender.model_store import ModelUnavailable, ServedModel, store
from recommender.questions import (
    FAMES,
    LARGEST_DRAW,
    MOST_COUNT,
    Filters,
    Question,
    QuestionError,
    Seed,
    read_hidden,
)

TEMPLATE = "recommender/page.html"
RESULTS = "recommender/results.html"
DRAW_BUTTON = "draw"


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the form and, once it names films, what to watch next."""
    try:
        model = store.current()
    except ModelUnavailable as error:
        return render(request, TEMPLATE, {"unavailable": str(error)}, status=503)
    if model is None:
        return render(request, TEMPLATE, {"unpublished": True})
    response = _submitted(request, model) if form.is_submitted(request.GET) else _linked(request, model)
    response.headers[MODEL_HEADER] = model.sha256
    return response


# Exempt: it changes nothing, and a POST only keeps what somebody has seen out of addresses and logs.
@csrf_exempt
@require_POST
def answers(request: HttpRequest) -> HttpResponse:
    """Answer the form as it stands with a piece of the page; `mine` holds the ids that the browser remembers."""
    try:
        model = store.current()
    except ModelUnavailable:
        model = None
    if model is None:
        return HttpResponse(status=503)
    seeds = form.seeds_of(form.submitted_slots(request.POST, model))
    draw = None if seeds else _read_draw(request.POST)
    question = Question.of_form(request.POST, seeds=seeds, draw=draw)
    try:
        context = _results(model, question, mine=read_hidden(request.POST.getlist("mine")))
    except QuestionError as error:
        context = {"mistake": str(error)}
    response = render(request, RESULTS, context)
    response.headers[MODEL_HEADER] = model.sha256
    response.headers["Cache-Control"] = "no-store"
    return response


def _submitted(request: HttpRequest, model: ServedModel) -> HttpResponse:
    """Turn a filled form into its link, or show it again with what is left to say."""
    if DRAW_BUTTON in request.GET:
        return _redirect(Question.of_form(request.GET, seeds=(), draw=secrets.randbelow(LARGEST_DRAW + 1)))
    slots = form.submitted_slots(request.GET, model)
    seeds = form.seeds_of(slots)
    question = Question.of_form(request.GET, seeds=seeds)
    if form.is_settled(slots):
        return _redirect(question)
    if not any(slot.title for slot in slots) and (draw := _read_draw(request.GET)) is not None:
        return _redirect(Question.of_form(request.GET, seeds=(), draw=draw))
    return _render(request, model, question, {"slots": slots})


def _redirect(question: Question) -> HttpResponse:
    response = HttpResponseRedirect(f"{reverse('page')}?{question.query_string()}")
    response.headers["Cache-Control"] = "no-store"
    return response


def _read_draw(query: QueryDict) -> int | None:
    try:
        return Question.parse(QueryDict(f"surprise={query.get('surprise', '')[:20]}")).draw
    except QuestionError:
        return None


def _linked(request: HttpRequest, model: ServedModel) -> HttpResponse:
    """Show the page that a link describes."""
    try:
        question = Question.parse(request.GET)
        slots = form.linked_slots(question, model)
        known = Question.of_form(request.GET, seeds=form.seeds_of(slots), draw=question.draw)
        results = _results(model, known)
    except QuestionError as error:
        context = {"slots": form.empty_slots(), "mistake": str(error)}
        return _render(request, model, Question(), context, status=400)
    return _render(request, model, known, {"slots": slots} | results)


def _results(model: ServedModel, question: Question, *, mine: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return what results.html shows, nothing before there is anything to go by.

    `question` is what the address says; `mine` is hidden as well, but only the link to hand on may tell of it.
    """
    if not question.answerable:
        return {}
    hidden = tuple(dict.fromkeys((*question.filters.hidden, *mine)))
    found = answer(model, question.hiding(hidden))
    more = question.more() if len(found.recommendations) == question.count else None
    shown = cards(found.recommendations)
    return {
        "answered": True,
        "cards": shown,
        "pictured": any(card.poster for card in shown),
        "passed": found.passed,
        "short": len(found.recommendations) < question.count,
        "question": question,
        "query": question.query_string(),
        "link": found.link.query_string(),
        "more": more.query_string() if more else "",
        "unfiltered": question.unfiltered().query_string() if question.filters.chosen else "",
        "other_draw": _other_draw(question),
        "most": MOST_COUNT,
    }


def _other_draw(question: Question) -> str:
    if question.draw is None:
        return ""
    following = (question.draw * 7919 + 104_729) % (LARGEST_DRAW + 1)
    return Question(draw=following, taste=question.taste, filters=question.filters).query_string()


def _render(
    request: HttpRequest, model: ServedModel, question: Question, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    named = any(slot.title for slot in context["slots"])
    slots = context["slots"]
    genres, decades = tuple(model.catalogue.genres), tuple(map(str, model.catalogue.decades))
    shared = {
        "model": model,
        "question": question,
        "taste": question.taste,
        "first_slots": slots[: form.USUAL_SLOTS],
        "other_slots": slots[form.USUAL_SLOTS :],
        "others_named": any(slot.title or slot.message for slot in slots[form.USUAL_SLOTS :]),
        "genres": chips("genre", genres, question.filters.genres),
        "without": chips("without", genres, question.filters.without),
        "decades": chips("decade", decades, tuple(map(str, question.filters.decades)), suffix="s"),
        "fame_words": FAMES[question.filters.fame],
        "chosen_filters": _count_chosen(question.filters),
        "hide": ",".join(map(str, question.filters.hidden)),
        "example": "" if named or question.answerable else _example(model),
        "page_url": request.build_absolute_uri(),
    }
    return render(request, TEMPLATE, shared | context, status=status)


def _count_chosen(filters: Filters) -> int:
    return len(filters.genres) + len(filters.without) + len(filters.decades) + bool(filters.fame)


def _example(model: ServedModel) -> str:
    """Return the query of the example, "" when the model does not know its films."""
    seeds = tuple(Seed(movie_id=film.movie_id, rating=5) for film in model.catalogue.example)
    return Question(seeds=seeds).query_string() if seeds else ""
