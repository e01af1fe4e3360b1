"""The benchmark of the nights holds them against the same shape, and adds up to what it has measured."""

import pytest

import nightly_retraining
from benchmarks import nights, same_shape_dag
from benchmarks.nights import Night, Run, Span

OURS, EMPTY = nightly_retraining.dag, same_shape_dag.dag


def test_the_empty_dag_has_the_nights_shape() -> None:
    def shape(dag):
        return {
            task.task_id: (task.downstream_task_ids, task.is_setup, task.is_teardown, task.on_failure_fail_dagrun)
            for task in dag.tasks
        }

    assert shape(EMPTY) == shape(OURS)


def steps(*ends: float) -> dict[str, Span]:
    """Steps of a second each that end at these moments."""
    return {name: Span(end - 1.0, float(end)) for name, end in zip(nights.PATH, ends, strict=True)}


@pytest.fixture
def night() -> Night:
    tasks = steps(1, 3, 5, 7, 9, 31, 33, 35, 37, 39) | {"destroy_cluster": Span(33.5, 35)}
    tasks["train_similarity"] = Span(10.0, 31.0)
    return Night(run=Run(whole=Span(0.0, 39.0), tasks=tasks), job=Span(11.0, 29.0), machines=(28.0, 28.0))


def test_overhead_is_what_is_left_without_the_job(night: Night) -> None:
    assert (night.overhead, night.not_spark) == (21, 10)
    empty = Run(whole=Span(0.0, 10.0), tasks=steps(*range(1, 11)))
    text = nights.wall([night], [empty])
    assert "| together | 21.0 | 10.0 |" in text
    assert "| train_similarity, without the job | 3.0 | 1.0 |" in text
    assert "over the empty DAG: 2.10" in text


def test_billed_parts_add_up(night: Night) -> None:
    rows = [line.split("|")[1:3] for line in nights.billed([night]).splitlines() if line.count("|") == 3][2:]
    *parts, (_, total) = rows
    assert sum(float(value) for _, value in parts) == pytest.approx(float(total)) == 10
