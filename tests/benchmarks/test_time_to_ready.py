"""The benchmark measures what is there: every step that it names is taken."""

import pytest

from benchmarks import time_to_ready
from nightreel.sandbox.client import running_sandbox


@pytest.mark.sandbox
@pytest.mark.spark
def test_every_step_is_reached(tmp_path_factory):
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        samples = [time_to_ready.measure(sandbox, workers=1)]
    assert set(samples[0].milestones.reached) == {time_to_ready.RUN, *time_to_ready.STEPS}
    assert "workers alive" in time_to_ready.phases(samples)
