"""Registers the app and the checks of its environment."""

from django.apps import AppConfig
from django.core import checks

from config.checks import check_publish_token, check_secret_key


class RecommenderConfig(AppConfig):
    """Movies, models and recommendations."""

    name = "recommender"

    def ready(self) -> None:
        """Run the environment's checks with Django's own, before any management command."""
        checks.register(check_secret_key, checks.Tags.security)
        checks.register(check_publish_token, checks.Tags.security, deploy=True)
