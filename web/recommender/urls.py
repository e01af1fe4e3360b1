"""Addresses of the page and the API."""

from django.urls import path

from recommender import api, views

urlpatterns = [
    path("", views.page, name="page"),
    path("healthz", api.health, name="health"),
    path("api/movies", api.movies, name="movies"),
    path("api/recommendations", api.recommendations, name="recommendations"),
    path("api/model", api.model, name="model"),
    path("api/bundles/<str:sha256>", api.bundle, name="bundle"),
    path("api/bundles/<str:sha256>/activate", api.activate, name="activate"),
]
