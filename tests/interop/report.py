"""How a course of tests is counted, and what is left of it: no process, and logs only when something failed.

Never: hides a step that is left out.
"""
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from programs import Failed, LeftOut, end_all

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Report:
    def __init__(self):
        self.passed = self.failed = 0
        self.left_out = []

    def step(self, name, text, work):
        """Runs one step; says whether the next ones make sense."""
        at = time.monotonic()
        try:
            work()
        except LeftOut as reason:
            self.left_out.append(f"{name}: {reason}")
            print(f"  left out {name}: {text}: {reason}", flush=True)
            return False
        except Exception as error:  # a broken step must not hide the others
            self.failed += 1
            print(f"  FAILED   {name}: {text}: {error}", flush=True)
            if not isinstance(error, Failed):
                traceback.print_exc()
            return False
        self.passed += 1
        print(f"  ok       {name}: {text} ({time.monotonic() - at:.1f} s)", flush=True)
        return True

    def steps(self, name, steps):
        """Runs steps that build on each other, up to the first that fails."""
        return all(self.step(name, text, work) for text, work in steps)


def conduct(name, work):
    """Runs `work(directory, report)` to its end or until somebody ends it, and answers the exit status."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: sys.exit(130))
    directory = Path(tempfile.mkdtemp(prefix=f"a8-{name}-"))
    report = Report()
    begun = time.monotonic()
    try:
        work(directory, report)
    except LeftOut as reason:
        report.left_out.append(f"{name}: {reason}")
    except Failed as error:
        report.failed += 1
        print(f"  FAILED   {name}: {error}", flush=True)
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        end_all()
        if report.failed:
            print(f"logs are in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    for line in report.left_out:
        print(f"left out: {line}")
    print(f"{name}: {report.passed} passed, {report.failed} failed ({time.monotonic() - begun:.0f} s)")
    return 1 if report.failed else 0
