from __future__ import annotations

import pytest

from recommender.facts import LONGEST, MOST_FACTS, MOST_WITHIN, Fact, facts_of


def test_nested_mappings_are_facts_within():
    assert facts_of({"rating_histogram": {"0.5": 1370, "1.0": 2811}, "seed": 7}) == [
        Fact(name="rating histogram", parts=[Fact(name="0.5", text="1,370"), Fact(name="1.0", text="2,811")]),
        Fact(name="seed", text="7"),
    ]


def test_a_list_of_mappings_is_numbered():
    found = facts_of({"searched": [{"rank": 64, "reg": 0.03}, {"rank": 128, "reg": 1.0}]})
    assert [(part.name, part.text) for part in found[0].parts] == [("1", "rank 64, reg 0.03"), ("2", "rank 128, reg 1")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "yes"),
        ({}, "none"),
        ([], "none"),
        ([1, 2000], "1, 2,000"),
        (0.1 + 0.2, "0.3"),
        (-1, "-1"),
        ("as it is", "as it is"),
    ],
)
def test_values_are_said_in_words(value, text):
    assert facts_of({"it": value}) == [Fact(name="it", text=text)]


@pytest.mark.parametrize("value", [None, [], "text", 5])
def test_what_is_no_mapping_has_no_facts(value):
    assert facts_of(value) == []


def test_what_is_deep_is_left_out():
    deep: object = "bottom"
    for _ in range(5000):
        deep = {"in": [deep]}
    (fact,) = facts_of({"it": deep})
    assert fact.parts == [Fact(name="in", text="in …")]


def test_what_is_long_is_cut_and_said_so():
    assert facts_of({"it": "x" * 1000})[0].text == "x" * LONGEST + " …"
    assert facts_of({str(number): 1 for number in range(MOST_FACTS + 5)})[-1].text == "5 more"
    assert facts_of({"it": {str(number): 1 for number in range(MOST_WITHIN + 3)}})[0].parts[-1].text == "3 more"
