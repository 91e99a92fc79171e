"""The suite that all catalogs play, with a real system in the place of the small one.

Never: starts the system, takes a suite for passed that did not run, or leaves a process behind.
"""
import re
import shutil
import subprocess
from pathlib import Path

from programs import Failed, LeftOut, Process, until

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 900
TESTS = 2


def command(*more):
    return ["cargo", "test", "--locked", "--manifest-path", str(ROOT / "Cargo.toml"), "--test", "it", *more]


def prepare():
    """Builds it, so that it can be played where there is no network."""
    if not shutil.which("cargo"):
        raise LeftOut("cargo is not installed, which builds the suite")
    built = subprocess.run(command("--no-run"), capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise Failed(f"the suite does not build: {built.stderr[-2000:]}")


def play(chapter, directory, **variables):
    """Plays the tests of a chapter that need a real system, which the variables name."""
    tests = command("--offline", "--", "--ignored", "--test-threads", "1", f"{chapter}::real::")
    process = Process("suite", ["env", *(f"{name}={value}" for name, value in variables.items()), *tests], directory)
    try:
        status = process.wait_end(SECONDS)
        # Its last words may still be on their way.
        said = until(10, "the suite says how it ended", lambda: ended(process.log))
    finally:
        process.stop()
    passed = re.search(r"^test result: ok\. (\d+) passed; 0 failed", said, re.MULTILINE)
    if status != 0 or not passed or int(passed[1]) != TESTS:
        panics = re.findall(r"^thread .* panicked at .*\n.*$", said, re.MULTILINE)
        raise Failed("\n".join([f"the suite of {chapter}, see {process.log}", *(panics or said.splitlines()[-5:])]))


def ended(log):
    said = log.read_text(errors="replace")
    return said if re.search(r"^(test result|error): ", said, re.MULTILINE) else None
