#!/usr/bin/env python3
"""Real Eureka clients, and a real Eureka server, against a registry, which also follows such a server.

Never: needs more than Python's own library to run; leaves a process behind.
"""
import argparse
import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

sys.dont_write_bytecode = True

import catalog
import peers
import replay
from clients import CLIENTS, PAIRS, Course, shown
from programs import CACHE, Elsewhere, Failed, LeftOut, Reference, Registry
from report import conduct

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
        report.steps(name, course.steps())
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
    CACHE.mkdir(parents=True, exist_ok=True)
    return conduct("interop", lambda directory, report: run_all(options, directory, report))


def run_all(options, directory, report):
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


if __name__ == "__main__":
    sys.exit(main())
