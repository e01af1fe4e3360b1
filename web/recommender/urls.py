"""Addresses of the page and the API."""

from django.urls import path

from recommender import api, films, pages, remembering, views

urlpatterns = [
    path("", views.page, name="page"),
    path("answers", views.answers, name="answers"),
    path("suggest", films.suggest, name="suggest"),
    path("films/<int:movie_id>", films.film, name="film"),
    path("posters/<str:tmdb_id>.jpg", films.poster, name="poster"),
    path("list", pages.your_list, name="list"),
    path("privacy", pages.privacy, name="privacy"),
    path("robots.txt", pages.robots, name="robots"),
    path("remember/consent", remembering.consent, name="consent"),
    path("remember/ratings", remembering.ratings, name="ratings-of-visitor"),
    path("healthz", api.health, name="health"),
    path("api/movies", api.movies, name="movies"),
    path("api/recommendations", api.recommendations, name="recommendations"),
    path("api/model", api.model, name="model"),
    path("api/bundles/<str:sha256>", api.bundle, name="bundle"),
    path("api/bundles/<str:sha256>/activate", api.activate, name="activate"),
]
