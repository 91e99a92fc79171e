#!/usr/bin/env python3
"""Real Eureka clients, and a real Eureka server, against a registry, which also follows such a server.

Never: needs more than Python's own library to run; leaves a process behind.
"""
import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from urllib.parse import urlsplit

sys.dont_write_bytecode = True

import catalog
import peers
import replay
from clients import CLIENTS, PAIRS, Course, shown
from programs import CACHE, Elsewhere, Failed, LeftOut, Reference, Registry, end_all

ALL = [*CLIENTS, *PAIRS, "peers", "catalog", "replay"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", nargs="?", default="bin/a8registry", help="the registry (bin/a8registry)")
    parser.add_argument("--only", action="append", choices=ALL, metavar="NAME", help=f"one of {', '.join(ALL)}; repeatable")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--reference", action="store_true", help="a real Eureka server in the place of the registry")
    group.add_argument("--against", metavar="URL", help="the clients against a server that runs already, such as http://127.0.0.1:8761/eureka/")
    parser.add_argument("--root", default="/eureka/v2/", help="path that the clients are given at the registry")
    parser.add_argument("--peer-minutes", type=float, default=1, metavar="N", help="how long the peers are watched")
    parser.add_argument("--facts", action="store_true", help="print what the clients sent, and timings")
    parser.add_argument("--record", metavar="DIR", help="write what each client sent to files in this directory")
    return parser.parse_args()


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


def server_for(options, directory):
    if options.reference:
        server = Reference(directory)
        server.root = "/eureka/"
    elif options.against:
        parts = urlsplit(options.against)
        server = Elsewhere(parts.port, directory)
        server.root = parts.path
    else:
        server = Registry(os.path.abspath(options.binary), directory)
        server.root = options.root
    return server


def run_client(name, options, directory, report):
    actor, watcher = (CLIENTS[one] for one in PAIRS.get(name, (name, name)))
    try:
        for client in (actor, watcher):
            client.build()
        server = server_for(options, directory)
    except LeftOut as reason:
        report.left_out.append(f"{name}: {reason}")
        return
    except Failed as error:
        report.step(name, "builds", lambda: raise_(error))
        return
    course = Course(name, actor, watcher, server, directory)
    try:
        if not report.step(name, f"{server.name} starts", server.start):
            return
        for text, work in course.steps():
            if not report.step(name, text, work):
                break
        if options.facts:
            for fact in course.facts:
                print(f"           {fact}")
            for one in course.sent():
                print(f"           sends {one.method} {one.path}: {shown(one)}")
        if options.record:
            record(Path(options.record) / f"{name}.json", course.sent())
    finally:
        course.close()
        server.stop()


def record(path, exchanges):
    """Keeps what a client sent, for tests without it."""
    kept = [{"method": one.method, "path": one.path,
             "headers": {k: v for k, v in one.headers.items() if k not in ("host", "discoveryidentity-id")},
             "body": one.body.decode("utf-8"), "status": one.status} for one in exchanges]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def raise_(error):
    raise error


def main():
    options = arguments()
    if not (options.reference or options.against or os.access(options.binary, os.X_OK)):
        sys.exit(f"no registry at {options.binary}; build it first, or name it")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    CACHE.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="a8-interop-"))
    report = Report()
    try:
        for name in options.only or ALL:
            print(name, flush=True)
            if name in CLIENTS or name in PAIRS:
                run_client(name, options, directory, report)
            elif options.against:
                report.left_out.append(f"{name}: needs the registry itself")
            elif name == "peers":
                peers.run(options, directory, report)
            elif name == "catalog":
                catalog.run(options, directory, report)
            else:
                replay.run(options, directory, report)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        end_all()
        if report.failed:
            print(f"logs are in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    for line in report.left_out:
        print(f"left out: {line}")
    print(f"interop: {report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
