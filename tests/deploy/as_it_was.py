"""Run within the site, by `manage.py shell -c …`, on a database of an older schema."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from nightreel.bundle.reader import open_bundle
from recommender.model_store import store
from recommender.models import ConsentedRating, bundles_folder
from recommender.search import search


def fill(migration: str, bundle: Path) -> None:
    """Put in what a site of that time had: a model that serves, its movies and, where it knew them, ratings."""
    models = MigrationLoader(connection).project_state(("recommender", migration)).apps
    movies = models.get_model("recommender", "Movie")
    found = open_bundle(bundle)
    dataset = str(found.metadata.dataset["name"])
    sha256 = bundle.stem
    stored = models.get_model("recommender", "StoredBundle").objects.create(
        sha256=sha256,
        run_id=found.metadata.run_id,
        dataset=dataset,
        movies=len(found.titles),
        metadata=asdict(found.metadata),
    )
    models.get_model("recommender", "Activation").objects.create(bundle=stored)
    rows = zip(found.movie_ids.tolist(), found.titles, found.years, found.rating_counts.tolist(), strict=True)
    for movie_id, title, year, count in rows:
        named = {"names": f"|{title.lower()}|"} if migration >= "0010" else {}
        movies.objects.create(
            dataset=dataset,
            movie_id=movie_id,
            title=title,
            year=year,
            search_key=title.lower(),
            rating_count=count,
            **named,
        )
    if migration >= "0010":
        visitor = models.get_model("recommender", "Contributor").objects.create(token_sha256="0" * 64)
        models.get_model("recommender", "ConsentedRating").objects.create(
            contributor=visitor, dataset=dataset, movie_id=found.movie_ids.tolist()[0], stars=4, given=timezone.now()
        )
    bundles_folder().mkdir(parents=True, exist_ok=True)
    (bundles_folder() / f"{sha256}.arrow").write_bytes(bundle.read_bytes())


def tell() -> None:
    """Print what the site of today makes of it, as JSON."""
    model = store.current()
    assert model is not None
    found = search("aladdin", dataset="made up", known=lambda _: True)
    facts = {
        "model": model.sha256,
        "found": [movie.label for movie in found],
        "ratings": list(ConsentedRating.objects.values_list("movie_id", "stars")),
    }
    print(json.dumps(facts))  # noqa: T201 (the answer)
