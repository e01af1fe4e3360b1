"""Addresses of the pages and the API."""

from django.urls import include, path

from recommender import api, films, metrics, model_pages, pages, remembering, views

urlpatterns = [
    path("", views.page, name="page"),
    path("answers", views.answers, name="answers"),
    path("suggest", films.suggest, name="suggest"),
    path("films/<int:movie_id>", films.film, name="film"),
    path("posters/<slug:tmdb_id>.jpg", films.poster, name="poster"),
    path("list", pages.your_list, name="list"),
    path("privacy", pages.privacy, name="privacy"),
    path("favicon.ico", pages.favicon, name="favicon"),
    path("robots.txt", pages.robots, name="robots"),
    path("remember/consent", remembering.consent, name="consent"),
    path("remember/ratings", remembering.ratings, name="ratings-of-visitor"),
    path("model/", model_pages.card, name="model"),
    path("staff/models/", model_pages.models, name="models"),
    path("staff/models/activate/", model_pages.activate, name="activate-model"),
    path("staff/models/back/", model_pages.roll_back, name="roll-back"),
    path("staff/models/<slug:sha256>/report/", model_pages.report, name="model-report"),
    path("metrics", metrics.metrics, name="metrics"),
    path("api/", api.api_page, name="api"),
    path("api/v1/", api.urls),
    # Before there were versions: kept for clients that know these addresses.
    path("api/", include((api.urls[0], "api-unversioned"))),
]
