"""One film: its page, its poster, and the type-ahead that finds it."""

from __future__ import annotations

from typing import Any

from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from nightreel.recommend.taste_model import DEFAULT_TASTE
from recommender.answers import similar
from recommender.api import MODEL_HEADER
from recommender.cards import film_card, poster_url, similar_cards, tone
from recommender.details import FilmDetails
from recommender.fragments import stars
from recommender.model_store import ModelUnavailable, ServedModel, store
from recommender.models import Movie
from recommender.search import search

SIMILAR = 10
FEW_RATINGS = 10
A_YEAR = 31_536_000
LARGEST_ID = 10**18 - 1


@require_safe
def film(request: HttpRequest, movie_id: int) -> HttpResponse:
    """Show a film, what it is like, and where else to read about it."""
    try:
        model = store.current()
    except ModelUnavailable as error:
        return render(request, "recommender/page.html", {"unavailable": str(error)}, status=503)
    if model is None or movie_id > LARGEST_ID:
        raise Http404
    movie = Movie.objects.by_movie_id(model.dataset, [movie_id]).get(movie_id)
    if movie is None:
        raise Http404
    details = FilmDetails.objects.of([movie.tmdb_id]).get(movie.tmdb_id)
    alike = similar_cards(similar(model, movie_id, count=SIMILAR))
    context = {
        "model": model,
        "card": film_card(movie, details),
        "movie": movie,
        "details": details,
        "similar": alike,
        "attributed": details is not None or any(card.poster for card in alike),
        "stars": stars("mine", None),
        "default_taste": f"{DEFAULT_TASTE:g}",
        "page_url": request.build_absolute_uri(),
    }
    response = render(request, "recommender/film.html", context | _standing(model, movie))
    response.headers[MODEL_HEADER] = model.sha256
    return response


def _standing(model: ServedModel, movie: Movie) -> dict[str, Any]:
    """Return what the model knows of a film: how many rated it and how, in stars."""
    row = model.bundle.row_of(movie.movie_id)
    if row is None:
        return {"known": False, "ratings": 0}
    ratings = int(model.bundle.rating_counts[row])
    mean = float(model.bundle.mean_ratings[row])
    text = "One person" if ratings == 1 else f"{ratings:,} people"
    return {"known": True, "ratings": ratings, "ratings_text": text, "mean": mean, "few": ratings < FEW_RATINGS}


@require_safe
def suggest(request: HttpRequest) -> HttpResponse:
    """Films of the serving model for ?q=, best match first, as the form's list shows them."""
    try:
        model = store.current()
    except ModelUnavailable:
        model = None
    if model is None:
        return JsonResponse({"films": []}, status=503)
    found = search(request.GET.get("q", ""), dataset=model.dataset, known=model.knows)
    details = FilmDetails.objects.of(movie.tmdb_id for movie in found)
    films = [_suggestion(movie, details.get(movie.tmdb_id)) for movie in found]
    return JsonResponse({"films": films}, headers={MODEL_HEADER: model.sha256})


def _suggestion(movie: Movie, details: FilmDetails | None) -> dict[str, Any]:
    return {
        "id": movie.movie_id,
        "label": movie.label,
        "title": movie.title,
        "year": movie.year,
        "note": movie.note,
        "tone": tone(movie.genres),
        "poster": poster_url(details),
        "url": reverse("film", args=[movie.movie_id]),
    }


@require_safe
def poster(request: HttpRequest, tmdb_id: str) -> HttpResponse | FileResponse:
    """Serve a poster that was fetched; its address changes with the file, so browsers may keep it."""
    details = FilmDetails.objects.filter(pk=tmdb_id, has_poster=True).first()
    try:
        file = details.poster_path.open("rb") if details else None
    except OSError:
        file = None
    if file is None:
        raise Http404
    headers = {"Cache-Control": f"public, max-age={A_YEAR}, immutable"}
    return FileResponse(file, content_type="image/jpeg", headers=headers)
