"""Addresses of the pages and the API."""

from django.urls import include, path

from recommender import api, metrics, model_pages, views

urlpatterns = [
    path("", views.page, name="page"),
    path("model/", model_pages.card, name="model"),
    path("staff/models/", model_pages.models, name="models"),
    path("staff/models/activate/", model_pages.activate, name="activate-model"),
    path("staff/models/back/", model_pages.roll_back, name="roll-back"),
    path("staff/models/<str:sha256>/report/", model_pages.report, name="model-report"),
    path("metrics", metrics.metrics, name="metrics"),
    path("api/", api.api_page, name="api"),
    path("api/v1/", api.urls),
    # Before there were versions: kept for clients that know these addresses.
    path("api/", include((api.urls[0], "api-unversioned"))),
]
