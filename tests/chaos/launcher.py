"""A launcher that is made to be killed: it does what the nightly run does, and waits for a line after each step.

With `killed_after` it kills itself once EC2 has answered so many of its calls that change something.
"""

import itertools
import json
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from nightreel.sandbox.client import Sandbox
from tests.chaos.scene import TASKS, Scene


def main() -> None:
    changes = json.loads(sys.argv[1])
    scene = Scene(
        Sandbox.find(Path(os.environ["NIGHTREEL_SANDBOX_STATE"])),
        changes.pop("name"),
        expires_at=datetime.fromisoformat(changes.pop("expires_at")),
    )
    if "killed_after" in changes:
        kill_after(scene, changes.pop("killed_after"))
    workers = changes.get("workers", 1)
    for step, action in (
        ("launched", lambda: scene.launch(**changes)),
        ("bootstrapped", lambda: scene.bootstrap(required_workers=workers)),
        ("submitted", lambda: scene.submit("squares", tasks=TASKS)),
    ):
        action()
        print(step, flush=True)  # noqa: T201 (for whoever holds the pipe)
        sys.stdin.readline()


def kill_after(scene: Scene, calls: int) -> None:
    answered = itertools.count(1)

    def count(model: Any, **_: Any) -> None:
        if not model.name.startswith("Describe") and next(answered) == calls:
            os.kill(os.getpid(), signal.SIGKILL)

    scene.ec2.meta.events.register("after-call.ec2", count)


if __name__ == "__main__":
    main()
