from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from nightreel.bundle.reader import Bundle, open_bundle
from nightreel.bundle.reports import report_path
from nightreel.bundle.schema import BundleMetadata
from nightreel.bundle.writer import write_bundle
from nightreel.recommend.plots import Bar, bars, falling
from nightreel.recommend.report import CostLine, render_report, write_report
from nightreel.recommend.taste_model import RELATIVE_PATH

MOVIES = 120
EVALUATION = [
    {
        "model": "Nightreel, familiar",
        "ndcg": 0.45,
        "tail_ndcg": 0.20,
        "coverage": 100,
        "tail_coverage": 90,
        "queries": 9,
    },
    {"model": "most popular", "ndcg": 0.35, "ndcg_error": 0.01, "tail_ndcg": 0.08, "coverage": 12, "tail_coverage": 15},
    {"model": "<script>alert(1)</script>", "ndcg": None, "tail_ndcg": None, "coverage": 0, "tail_coverage": None},
]


def make(tmp_path: Path, **changes) -> Bundle:
    rng = np.random.default_rng(1)
    columns = {
        "movie_id": np.arange(MOVIES),
        "title": [f"Movie {n}" for n in range(MOVIES)],
        "year": [None] * MOVIES,
        "genres": [[]] * MOVIES,
        "imdb_id": [None] * MOVIES,
        "tmdb_id": [None] * MOVIES,
        "rating_count": 1 + 5000 // (1 + np.arange(MOVIES)),
        "mean_rating": np.full(MOVIES, 3.5),
        "embedding": rng.normal(size=(MOVIES, 3)),
        "prior": rng.uniform(size=MOVIES),
        "residual": np.zeros(MOVIES),
        "neighbour_ids": np.column_stack([(np.arange(MOVIES) + 1) % MOVIES, (np.arange(MOVIES) + 2) % MOVIES]),
        "neighbour_scores": np.tile([0.9, 0.5], (MOVIES, 1)),
    }
    fields = {
        "run_id": "night <1>",
        "created": "2026-01-01T00:00:00Z",
        "dataset": {"name": "films & more", "ratings": 1234, "users": 56, "rejected": {"without a user": 3}},
        "parameters": {"rank": 3},
        "versions": {},
        "evaluation": EVALUATION,
        "taste": RELATIVE_PATH.to_mapping(),
        "code_revision": "abc",
        "details": {"timings": [{"phase": "fit", "seconds": 61.5}, {"phase": "read", "seconds": 3}]},
    }
    path = tmp_path / "model.arrow"
    write_bundle(path, columns=columns, metadata=BundleMetadata(**(fields | changes)))
    return open_bundle(path)


class Page(HTMLParser):
    """Collects tags and headings, and fails on a tag that is closed out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


def parsed(text: str) -> Page:
    page = Page()
    page.feed(text)
    assert not page.open
    return page


def test_report_has_every_section_and_needs_nothing_beside_it(tmp_path):
    page = parsed(render_report(make(tmp_path)))
    assert page.headings == [
        "Run night <1>",
        "Quality beside baselines",
        "Coverage",
        "Popularity",
        "Search for parameters",
        "Timings",
        "Cost",
    ]
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "a"}
    assert not [attrs for _, attrs in page.tags if attrs.keys() & {"src", "href", "onload"}]


def test_report_loads_nothing(tmp_path):
    text = render_report(make(tmp_path))
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|https?://", text)


def test_report_shows_figures_and_what_was_kept_aside(tmp_path):
    text = render_report(make(tmp_path))
    for figure in ("0.450", "0.350", "3 without a user", "1,234 ratings by 56 users", "61.5 s", "Together 64.5 s"):
        assert figure in text
    assert 'class="interval"' in text
    assert "<script>" not in text


def test_report_says_what_is_not_known(tmp_path):
    text = render_report(make(tmp_path, evaluation=[], details={}))
    for sentence in ("was not evaluated", "searched for none", "did not keep how long", "no machine was rented"):
        assert sentence in text


@pytest.mark.parametrize("details", [{"timings": "x", "search": 3}, {"timings": [None, {"phase": 1}], "search": [1]}])
def test_report_bears_details_of_another_shape(tmp_path, details):
    parsed(render_report(make(tmp_path, details=details)))


def test_report_shows_a_search_best_first(tmp_path):
    trials = [{"rank": 64, "reg": 0.1, "score": 0.41}, {"rank": 128, "reg": 0.3, "score": 0.43}, {"rank": 9}]
    text = render_report(make(tmp_path, details={"search": trials}))
    assert text.index("rank 128, reg 0.3") < text.index("rank 64, reg 0.1")
    assert "0.4300" in text


def test_report_adds_costs_up_and_says_what_is_unknown(tmp_path):
    costs = [CostLine(what="master", hours=0.5, cost=0.05), CostLine(what="worker", hours=0.5, cost=None)]
    assert "$0.0500 and what is unknown" in render_report(make(tmp_path), costs=costs)
    assert "$0.12<" in render_report(make(tmp_path), costs=[costs[0], CostLine(what="w", hours=1, cost=0.07)])


def test_write_report_lies_beside_the_bundle(tmp_path):
    bundle = make(tmp_path)
    write_report(bundle, report_path(bundle.path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.arrow", "model.report.html"]


def test_bars_are_as_long_as_their_values():
    drawn = bars(
        "t",
        [
            Bar(label="a", value=1.0, text="1"),
            Bar(label="b", value=0.5, text="½"),
            Bar(label="c", value=None, text="–"),
        ],
    )
    widths = [float(width) for width in re.findall(r'<rect[^>]*width="([\d.]+)"', drawn)]
    assert widths[0] == pytest.approx(2 * widths[1])
    assert widths[2] == 0


def test_falling_draws_a_power_law_as_a_straight_line():
    points = re.search(
        r'points="([^"]+)"', falling("t", [1e6 / rank for rank in range(1, 1001)], x_label="", y_label="")
    )
    places = np.array([[float(part) for part in pair.split(",")] for pair in points[1].split()])
    slopes = np.diff(places[:, 1]) / np.diff(places[:, 0])
    assert slopes == pytest.approx(np.full(len(slopes), slopes.mean()), rel=0.2)
    assert falling("t", [3], x_label="", y_label="") == ""
