"""Addresses of the site."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("", include("recommender.urls"))]

handler404 = "recommender.problems.not_found"
handler500 = "recommender.problems.server_error"
