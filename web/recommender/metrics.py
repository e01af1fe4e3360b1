"""What Prometheus may know: requests, their times, uploads, activations and the model that serves.

Several worker processes keep their counts in files of one folder (PROMETHEUS_MULTIPROC_DIR, set by
`web/gunicorn.conf.py`), so that whichever is asked answers for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, Collector

from recommender.models import Activation, StoredBundle
from recommender.problems import Problem
from recommender.tokens import METRICS, require_scope

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

REQUESTS = Counter("nightreel_requests_total", "Requests by view, method and status.", ("view", "method", "status"))
SECONDS = Histogram("nightreel_request_seconds", "Seconds until the answer, by view.", ("view",), buckets=BUCKETS)
UPLOADS = Counter("nightreel_uploads_total", "Bundles that came, by what became of them.", ("outcome",))
ACTIVATIONS = Counter("nightreel_activations_total", "Activations, by what became of them.", ("outcome",))


class ModelCollector(Collector):
    """The serving model, read when asked for, so that it is the same in every process."""

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        stored = GaugeMetricFamily("nightreel_bundles_stored", "Bundles that the database knows.")
        stored.add_metric([], StoredBundle.objects.count())
        yield stored
        activation = Activation.objects.current()
        if activation is None:
            return
        bundle = activation.bundle
        info = GaugeMetricFamily("nightreel_model_info", "The model that serves.", labels=("sha256", "run_id"))
        info.add_metric([bundle.sha256, bundle.run_id], 1)
        yield info
        movies = GaugeMetricFamily("nightreel_model_movies", "Movies of the model that serves.")
        movies.add_metric([], bundle.movies)
        yield movies
        since = GaugeMetricFamily("nightreel_model_activated_timestamp_seconds", "When it began to serve.")
        since.add_metric([], activation.at.timestamp())
        yield since


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer Prometheus, who brings a token with the scope `metrics`."""
    try:
        if request.method not in {"GET", "HEAD"}:
            raise Problem(405, "/metrics answers GET only.", headers={"Allow": "GET, HEAD"})
        require_scope(request, METRICS)
    except Problem as problem:
        return problem.response()
    registry = CollectorRegistry()
    registry.register(ModelCollector())
    body = generate_latest(registry) + generate_latest(_counts())
    return HttpResponse(body, content_type=CONTENT_TYPE_LATEST)


def _counts() -> CollectorRegistry:
    """Return the counts of all processes, or of this one where it is alone."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
