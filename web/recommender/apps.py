"""Registers the app and the checks of its environment."""

from django.apps import AppConfig
from django.core import checks

from config.checks import check_secret_key, check_tokens


class RecommenderConfig(AppConfig):
    """Movies, models and recommendations."""

    name = "recommender"

    def ready(self) -> None:
        """Run the environment's checks with Django's own, before any management command."""
        checks.register(check_secret_key, checks.Tags.security)
        checks.register(check_tokens, checks.Tags.security, deploy=True)
