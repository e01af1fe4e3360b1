"""A launcher that is made to be killed: it does what the nightly run does, and waits for a line after each step."""

import json
import os
import sys
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from nightreel.sandbox.client import Sandbox
from tests.chaos.scene import Scene


def main() -> None:
    changes = json.loads(sys.argv[1])
    scene = Scene(
        Sandbox.find(Path(os.environ["NIGHTREEL_SANDBOX_STATE"])),
        changes.pop("name"),
        expires_at=datetime.fromisoformat(changes.pop("expires_at")),
    )
    for step, action in (
        ("launched", lambda: scene.launch(**changes)),
        ("bootstrapped", scene.bootstrap),
        ("submitted", scene.submit),
    ):
        action()
        print(step, flush=True)  # noqa: T201 (for whoever holds the pipe)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
