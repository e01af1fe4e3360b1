from __future__ import annotations

import math

import pytest

from nightreel.bundle.errors import BundleError
from nightreel.bundle.taste_path import TastePath, TastePoint


def point(taste, **changes):
    return TastePoint(**({"taste": taste, "beta": 1 - taste, "eta": taste / 2, "noise": 0.01 + taste} | changes))


PATH = TastePath(
    offset=0.1, points=[point(0.0), point(0.5, beta=0.2, kinship=1.5), point(1.0, kinship=2.0)], kinship_columns=3
)


@pytest.mark.parametrize(("taste", "beta"), [(0.0, 1.0), (0.25, 0.6), (0.5, 0.2), (0.75, 0.1), (1.0, 0.0)])
def test_at_is_linear_between_the_points(taste, beta):
    assert math.isclose(PATH.at(taste).beta, beta, abs_tol=1e-12)
    assert math.isclose(PATH.at(taste).kinship, 1 + taste, abs_tol=1e-12)


@pytest.mark.parametrize("taste", [-0.01, 1.01, math.nan])
def test_at_refuses_a_position_outside_of_the_slider(taste):
    with pytest.raises(ValueError, match="between 0"):
        PATH.at(taste)


def test_mapping_round_trip():
    assert TastePath.from_mapping(PATH.to_mapping()) == PATH


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ([point(0.0)], "rise from 0 to 1"),
        ([point(0.0), point(0.9)], "rise from 0 to 1"),
        ([point(0.0), point(0.7), point(0.6), point(1.0)], "rise from 0 to 1"),
        ([point(0.0), point(1.0, noise=0.0)], "noise > 0"),
        ([point(0.0), point(1.0, eta=2.0)], "eta <= 1"),
        ([point(0.0), point(1.0, kinship=-1.0)], "kinship >= 0"),
        ([point(0.0), point(1.0, beta=math.inf)], "not finite"),
    ],
)
def test_path_refuses(points, sentence):
    with pytest.raises(BundleError, match=sentence):
        TastePath(offset=0.1, points=points)


@pytest.mark.parametrize("columns", [-1, 1.5, "2", None])
def test_path_refuses_a_strange_number_of_kinship_columns(columns):
    with pytest.raises(BundleError, match="kinship columns"):
        TastePath.from_mapping(PATH.to_mapping() | {"kinship_columns": columns})
