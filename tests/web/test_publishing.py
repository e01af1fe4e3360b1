from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import BytesIO

import pytest
from django.utils import timezone

from nightreel.bundle.schema import BundleError
from recommender import publishing
from recommender.model_store import ServedModel, store
from recommender.models import Activation, Movie, StoredBundle, bundles_folder
from tests.web.made_bundles import IDS, MOVIES, MadeBundle

pytestmark = pytest.mark.django_db


def files():
    return {path.name for path in bundles_folder().iterdir()}


def test_receive_cut_short_leaves_nothing(make):
    made = make()
    with pytest.raises(publishing.UploadError, match="cut short: 100 of"):
        publishing.receive(BytesIO(made.body[:100]).read, sha256=made.sha256, length=len(made.body))
    assert files() == set()
    assert not StoredBundle.objects.exists()


def test_receive_reads_no_further_than_the_announced_length(make):
    made = make()
    stream = BytesIO(made.body + b"the next request")
    publishing.receive(stream.read, sha256=made.sha256, length=len(made.body))
    assert stream.read() == b"the next request"


def test_receive_of_a_broken_connection_leaves_nothing(make):
    def broken(_size):
        raise OSError("reset by peer")

    with pytest.raises(OSError, match="reset"):
        publishing.receive(broken, sha256="0" * 64, length=10)
    assert files() == set()


def test_activate_upserts_the_movies(make, receive):
    publishing.activate(receive(make()))
    publishing.activate(receive(make(run_id="second", rating_count=[7] * len(MOVIES))))
    assert Movie.objects.count() == len(MOVIES)
    matrix = Movie.objects.get(movie_id=IDS["The Matrix"])
    assert (matrix.title, matrix.year, matrix.rating_count, matrix.search_key) == ("The Matrix", 1999, 7, "matrix")


def test_an_upload_alone_leaves_the_movies_of_the_served_model(make, receive):
    publishing.activate(receive(make()))
    receive(make(run_id="second", rating_count=[7] * len(MOVIES)))
    assert not Movie.objects.filter(rating_count=7).exists()


def test_going_back_brings_the_movies_back(make, receive):
    first = receive(make())
    publishing.activate(first)
    publishing.activate(receive(make(run_id="second", rating_count=[7] * len(MOVIES))))
    publishing.activate(first)
    assert not Movie.objects.filter(rating_count=7).exists()


def test_activate_keeps_datasets_apart(make, receive):
    publishing.activate(receive(make()))
    publishing.activate(receive(make(dataset="another")))
    assert Movie.objects.filter(movie_id=IDS["The Matrix"]).count() == 2


def test_receive_brings_back_a_file_that_was_removed(make, receive):
    made = make()
    receive(made).path.unlink()
    stored, new = publishing.receive(BytesIO(made.body).read, sha256=made.sha256, length=len(made.body))
    assert new
    assert stored.path.read_bytes() == made.body


def test_receive_refuses_metadata_that_json_cannot_say(make):
    made = make()
    changed = MadeBundle(made.body.replace(b'"ndcg": 0.1', b'"ndcg": NaN'))
    assert changed.body != made.body
    with pytest.raises(BundleError, match="not finite"):
        publishing.receive(BytesIO(changed.body).read, sha256=changed.sha256, length=len(changed.body))
    assert files() == set()


def test_receive_sweeps_what_a_killed_process_left(make, receive):
    folder = bundles_folder()
    folder.mkdir(parents=True)
    (folder / f"{publishing.DRAFT_PREFIX}fresh").touch()
    stale = folder / f"{publishing.DRAFT_PREFIX}stale"
    stale.touch()
    two_days_ago = time.time() - 2 * 86_400
    os.utime(stale, (two_days_ago, two_days_ago))
    made = make()
    receive(made)
    assert files() == {f"{publishing.DRAFT_PREFIX}fresh", f"{made.sha256}.arrow"}


def test_activate_keeps_three_to_go_back_to(make, receive):
    stored = [receive(make(run_id=f"run {night}")) for night in range(6)]
    for bundle in stored:
        publishing.activate(bundle)
    assert files() == {bundle.path.name for bundle in stored[-4:]}


def test_activate_goes_back(make, receive):
    first, second = receive(make()), receive(make(run_id="second"))
    publishing.activate(first)
    publishing.activate(second)
    assert publishing.activate(first) == second.sha256
    assert Activation.objects.current().bundle == first


def test_activate_spares_an_upload_that_waits_for_its_turn(make, receive):
    waiting, first = receive(make(run_id="waiting")), receive(make())
    publishing.activate(first)
    assert waiting.path.exists()
    StoredBundle.objects.filter(pk=waiting.pk).update(uploaded=timezone.now() - timedelta(days=2))
    publishing.activate(first)
    assert not waiting.path.exists()


def test_activate_without_the_file_changes_nothing(make, receive):
    first, second = receive(make()), receive(make(run_id="second"))
    publishing.activate(first)
    second.path.unlink()
    with pytest.raises(publishing.ActivationError, match="no bundle"):
        publishing.activate(second)
    assert Activation.objects.current().bundle == first


def test_store_opens_a_model_once(model):
    assert store.current() is model


def test_store_notices_another_model(make, model, publish):
    second = publish(make(run_id="second"))
    assert second.stored.run_id == "second"


def test_a_model_in_use_outlives_its_file(make, model, publish):
    publish(make(run_id="second"))
    model.stored.path.unlink()
    scores = model.taste_model.score(seeds=[0], ratings=[5], taste=0.5)
    assert len(scores.top(10)) == 10


def test_store_asks_the_database_again_only_when_another_model_serves(
    make, model, receive, monkeypatch, django_assert_num_queries
):
    monkeypatch.setattr("recommender.model_store.ASKED_AGAIN_AFTER", 1000)
    monkeypatch.setattr(store, "_opened", None)
    store.current()
    with django_assert_num_queries(0):
        assert store.current().sha256 == model.sha256
    second = receive(make(run_id="second"))
    publishing.activate(second)
    assert store.current().sha256 == second.sha256


def test_nobody_waits_while_the_next_model_is_opened(make, model, receive, monkeypatch):
    opens, may_open = threading.Event(), threading.Event()
    open_bundle = ServedModel.open

    def slow(stored):
        opens.set()
        assert may_open.wait(60)
        return open_bundle(stored)

    publishing.activate(receive(make(run_id="second")))
    activation = Activation.objects.current()
    monkeypatch.setattr(ServedModel, "open", slow)
    monkeypatch.setattr(Activation.objects, "current", lambda: activation)  # threads have databases of their own here
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(store.current)
        assert opens.wait(60)
        assert store.current().sha256 == model.sha256
        may_open.set()
        assert first.result(60).stored.run_id == "second"
    assert store.current().stored.run_id == "second"


def test_receive_bounds_how_many_wait_and_takes_a_removed_one_again(make, receive):
    oldest = make(run_id="oldest")
    stored = receive(oldest)
    others = [receive(make(run_id=f"other {number}")) for number in range(publishing.MOST_WAITING)]
    assert not stored.path.exists()
    assert receive(oldest).path.exists()
    assert not others[0].path.exists()
    assert all(other.path.exists() for other in others[1:])
