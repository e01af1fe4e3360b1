"""Pieces of the form that are the same on most pages, rendered once: they are half of what a page costs."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

RATING_WORDS = ((1, "hated it"), (2, "disliked it"), (3, "so-so"), (4, "liked it"), (5, "loved it"))


@lru_cache(maxsize=64)
def stars(name: str, chosen: int | None) -> SafeString:
    """Return five stars to choose from as radio buttons of this name."""
    context = {"name": name, "chosen": chosen, "rating_words": RATING_WORDS}
    return _rendered("recommender/stars.html", context)


@lru_cache(maxsize=512)
def chips(name: str, values: tuple[str, ...], chosen: tuple[str, ...], suffix: str = "") -> SafeString:
    """Return values to tick as check boxes of this name."""
    context = {"name": name, "chips": [(value, value in chosen) for value in values], "suffix": suffix}
    return _rendered("recommender/chips.html", context)


def _rendered(template: str, context: dict[str, Any]) -> SafeString:
    return mark_safe(render_to_string(template, context))  # noqa: S308 (what is in it was escaped by the template)
