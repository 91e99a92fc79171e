"""The suite that all catalogs play, with a real system in the place of the small one.

Never: starts the system, or takes a suite for passed that did not run.
"""
import os
import re
import shutil
import subprocess
from pathlib import Path

from programs import Failed, LeftOut

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 900
TESTS = 2


def command(*more):
    return ["cargo", "test", "--locked", "--test", "it", *more]


def prepare():
    """Builds it, so that it can be played where there is no network."""
    if not shutil.which("cargo"):
        raise LeftOut("cargo is not installed, which builds the suite")
    built = subprocess.run(command("--no-run"), cwd=ROOT, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise Failed(f"the suite does not build: {built.stderr[-2000:]}")


def play(chapter, directory, **variables):
    """Plays the tests of a chapter that need a real system, which the variables name."""
    log = directory / "suite.log"
    with open(log, "wb") as out:
        status = subprocess.run(command("--offline", "--", "--ignored", "--test-threads", "1", f"{chapter}::real::"),
                                cwd=ROOT, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                timeout=SECONDS, check=False).returncode
    said = log.read_text(errors="replace")
    passed = re.search(r"^test result: ok\. (\d+) passed; 0 failed", said, re.MULTILINE)
    if status != 0 or not passed or int(passed[1]) != TESTS:
        panics = re.findall(r"^thread .* panicked at .*\n.*$", said, re.MULTILINE)
        raise Failed("\n".join([f"the suite of {chapter}, see {log}", *(panics or said.splitlines()[-5:])]))
