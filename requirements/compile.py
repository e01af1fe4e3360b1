"""Resolve the requirement sets: one for everything, and from the same versions one for each thing that is deployed."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
UV = Path(sys.executable).with_name("uv")
OPTIONS = ["--universal", "--python-version", "3.12", "--generate-hashes", "--no-emit-index-url", "--no-annotate"]


def compile_set(name: str, *constraints: str) -> None:
    """Pin `name`.in with hashes into `name`.txt, within the versions of the constraining sets."""
    bounds = [word for constraint in constraints for word in ("--constraints", f"{constraint}.txt")]
    command = [str(UV), "pip", "compile", "--quiet", *OPTIONS, "--custom-compile-command", "make requirements"]
    subprocess.run([*command, *bounds, f"{name}.in", "--output-file", f"{name}.txt"], cwd=HERE, check=True)


if __name__ == "__main__":
    compile_set("dev")
    for deployable in ("airflow", "spark", "web", "sandbox", "setup"):
        compile_set(deployable, "dev")
    compile_set("awscli")
