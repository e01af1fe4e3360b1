"""Which code made a bundle."""

import os
import shutil
import subprocess
from pathlib import Path


def code_revision(folder: Path) -> str:
    """The commit of the checkout that a folder lies in, or "unknown" where there is no git or no checkout.

    An image has neither: there NIGHTREEL_CODE_REVISION says what it was made of.
    """
    if made_of := os.environ.get("NIGHTREEL_CODE_REVISION"):
        return made_of
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(folder), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
