#!/usr/bin/env python3
"""A registry that follows a real Consul agent.

The agent is built once from its sources, as go.mod here pins them; A8_CONSUL may name one that is there already.
Never: needs more than Python's own library, Go and Cargo; leaves a process behind; lets the agent listen or call beyond loopback.
"""
import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

import suite
from programs import Failed, LeftOut, Process, Registry, call, free_port, until
from report import conduct

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "a8registry" / "consul"
MODULE = "github.com/hashicorp/consul"
BUILD_SECONDS = 3600
PATIENCE = 60
# What changes is waited for, so it is seen about at once; the machine may be busy.
SOON = 5.0


def check(condition, text):
    if not condition:
        raise Failed(text)


def agent_program():
    """The agent's program, built once for each content of go.mod and go.sum."""
    if os.environ.get("A8_CONSUL"):
        return os.environ["A8_CONSUL"]
    if not shutil.which("go"):
        raise LeftOut("go is not installed")
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((HERE / name).read_bytes())
    program, stamp, log = CACHE / "consul", CACHE / "built", CACHE / "build.log"
    if program.exists() and stamp.exists() and stamp.read_text() == digest.hexdigest():
        return str(program)
    CACHE.mkdir(parents=True, exist_ok=True)
    print("building consul (it takes some minutes, once)", flush=True)
    environment = {**os.environ, "GOWORK": "off", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    steps = [(["go", "mod", "download"], "the Go module proxy does not give its modules"),
             (["go", "build", "-p", "2", "-trimpath", "-o", str(program), MODULE], None)]
    with open(log, "wb") as out:
        for command, excuse in steps:
            built = subprocess.Popen(["nice", "-n", "10", *command], cwd=HERE, env=environment, stdin=subprocess.DEVNULL,
                                     stdout=out, stderr=out, start_new_session=True)
            try:
                status = built.wait(BUILD_SECONDS)
            except BaseException:
                os.killpg(built.pid, signal.SIGKILL)
                built.wait()
                raise
            if status != 0:
                tail = b"\n".join(log.read_bytes().splitlines()[-4:]).decode("utf-8", "replace")
                raise (LeftOut if excuse else Failed)(f"{excuse or 'consul does not build'}, see {log}\n{tail}")
    stamp.write_text(digest.hexdigest())
    return str(program)


class Agent:
    """One agent that is a datacenter of its own and can be started again on the same ports."""

    def __init__(self, program, directory, name, acl_token=None):
        self.name, self.directory, self.token = name, directory / name, acl_token
        self.program = program
        self.port, self.process = free_port(), None
        self.config = self.directory / "agent.json"
        self.directory.mkdir()
        ports = {"http": self.port, "serf_lan": free_port(), "server": free_port(), "dns": -1, "grpc": -1, "grpc_tls": -1,
                 "serf_wan": -1}
        config = {"node_name": name, "datacenter": "dc1", "server": True, "bootstrap_expect": 1,
                  "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "advertise_addr": "127.0.0.1", "ports": ports,
                  "data_dir": str(self.directory / "data"), "disable_update_check": True, "log_level": "WARN",
                  "performance": {"raft_multiplier": 1}, "skip_leave_on_interrupt": True}
        if acl_token:
            config["acl"] = {"enabled": True, "default_policy": "deny", "tokens": {"initial_management": acl_token}}
        self.config.write_text(json.dumps(config))

    def start(self):
        self.process = Process(self.name, [self.program, "agent", f"-config-file={self.config}"], self.directory)
        until(PATIENCE, f"{self.name} has a leader", self._leads, 0.1)
        return self

    def _leads(self):
        if self.process.child.poll() is not None:
            raise Failed(f"{self.name} ended by itself, see {self.process.log}")
        try:
            node = self.ask("GET", f"/v1/health/node/{self.name}", wanted=None)
            return node[0] == 200 and json.loads(node[1])
        except OSError:
            return False

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None

    def forget(self):
        shutil.rmtree(self.directory / "data")

    def ask(self, method, path, body=None, wanted=200):
        headers = {"X-Consul-Token": self.token} if self.token else {}
        status, _, answer = call(self.port, method, path, headers, json.dumps(body) if body is not None else None)
        if wanted and status != wanted:
            raise Failed(f"{self.name}: {method} {path}: {status} {answer[:200]!r}")
        return status, answer

    def register(self, service, id_, port, **more):
        body = {"ID": id_, "Name": service, "Address": "10.1.0.1", "Port": port,
                "Check": {"CheckID": f"{id_}-check", "TTL": "600s", "Status": "passing"}, **more}
        self.ask("PUT", "/v1/agent/service/register", body)

    def deregister(self, id_):
        self.ask("PUT", f"/v1/agent/service/deregister/{id_}")

    def check_is(self, id_, status):
        self.ask("PUT", f"/v1/agent/check/update/{id_}-check", {"Status": status})


class Following:
    """One registry that follows an agent, and what it shows."""

    def __init__(self, binary, directory, agent, name, *options):
        self.agent, self.delays = agent, []
        self.registry = Registry(binary, directory, "--consul_url", f"http://127.0.0.1:{agent.port}", *options, name=name)

    def state(self):
        _, _, body = call(self.registry.port, "GET", "/health/ready")
        return json.loads(body)["components"]["CATALOG_CONSUL"]["properties"]

    def shown(self):
        return {value: status for (_, value), status in self.registry.instances().items()}

    def waits(self, what, wanted, seconds=SOON):
        at = time.monotonic()
        try:
            until(seconds, what, lambda: self.shown() == wanted, 0.02)
        except Failed as error:
            raise Failed(f"{error}; shown: {self.shown()}, wanted: {wanted}, state: {self.state()}") from error
        self.delays.append(time.monotonic() - at)

    def is_current(self):
        until(PATIENCE, "it is current", lambda: self.state()["state"] == "current")

    def fails(self):
        return until(PATIENCE, "it fails", lambda: self.state().get("last_error"))

    def instance(self, value):
        _, _, body = call(self.registry.port, "GET", "/api/v1/instances?status=ALL")
        return next(one for one in json.loads(body)["instances"] if one["endpoint"]["value"] == value)


class Course:
    def __init__(self, program, binary, directory):
        self.program, self.binary, self.directory = program, binary, directory
        self.agent = Agent(program, directory, "agent")
        self.ours = Following(binary, directory, self.agent, "a8registry")
        self.ends = [self.ours.registry.stop, self.agent.stop]

    def close(self):
        for end in self.ends:
            end()

    def steps(self):
        yield "the registry starts with an agent that is not there", self.early
        yield "the agent starts and is followed", self.starts
        yield "a service appears as Consul has it", self.appears
        yield "checks are statuses", self.checks
        yield "maintenance of a service and of the node", self.maintenance
        yield "a registration changes", self.changes
        yield "a service on another node, without an agent", self.external
        yield "proxies are not shown", self.proxies
        yield "more services than are waited for at once", self.many
        yield "a service is deregistered", self.deregisters
        yield "the agent goes, what it had stays", self.outage
        yield "the agent comes back", self.recovery
        yield "the agent comes back without its past", self.amnesia
        yield "the suite that all catalogs play", self.suite
        yield "a token that is wrong", self.wrong_token
        yield "a token that may see one service", self.narrow_token
        yield "a token that is taken away", self.revoked_token

    def early(self):
        self.ours.registry.start()
        check("connect" in self.ours.fails(), f"{self.ours.state()}")
        check(call(self.ours.registry.port, "GET", "/health/ready")[0] == 200, "it is not ready")

    def starts(self):
        self.agent.start()
        self.ours.is_current()
        check(self.ours.shown() == {}, f"Consul itself is shown: {self.ours.shown()}")

    def appears(self):
        self.agent.register("web", "web-1", 8001, Tags=["v1", "http"], Meta={"zone": "blue"})
        self.ours.waits("it is shown", {"10.1.0.1:8001": "UP"})
        one = self.ours.instance("10.1.0.1:8001")
        check(one["id"] == "agent:web-1" and one["service_name"] == "web", f"{one}")
        check(one["tags"] == ["v1", "http"] and one["metadata"] == {"zone": "blue"}, f"{one}")
        check(one["endpoint"]["type"] == "http", f"{one}")
        status, _, _ = call(self.ours.registry.port, "DELETE", "/api/v1/instances/agent:web-1")
        check(status == 410, f"it can be deregistered: {status}")

    def checks(self):
        self.agent.register("web", "web-2", 8002)
        self.ours.waits("both are shown", {"10.1.0.1:8001": "UP", "10.1.0.1:8002": "UP"})
        for status, want in (("warning", "UP"), ("critical", "DOWN"), ("passing", "UP")):
            self.agent.check_is("web-2", status)
            self.ours.waits(status, {"10.1.0.1:8001": "UP", "10.1.0.1:8002": want})
            usable = len(self.ours.registry.instances(""))
            check(usable == (1 if want == "DOWN" else 2), f"{status}: {usable} are shown to those who want what they may use")

    def maintenance(self):
        self.agent.ask("PUT", "/v1/agent/service/maintenance/web-1?enable=true&reason=test")
        self.ours.waits("the service is", {"10.1.0.1:8001": "OUT_OF_SERVICE", "10.1.0.1:8002": "UP"})
        self.agent.ask("PUT", "/v1/agent/service/maintenance/web-1?enable=false")
        self.ours.waits("it is not any more", {"10.1.0.1:8001": "UP", "10.1.0.1:8002": "UP"})
        self.agent.ask("PUT", "/v1/agent/maintenance?enable=true&reason=test")
        self.ours.waits("the node is", {"10.1.0.1:8001": "OUT_OF_SERVICE", "10.1.0.1:8002": "OUT_OF_SERVICE"})
        self.agent.ask("PUT", "/v1/agent/maintenance?enable=false")
        self.ours.waits("it is not any more", {"10.1.0.1:8001": "UP", "10.1.0.1:8002": "UP"})

    def changes(self):
        self.agent.register("web", "web-2", 8003, Tags=["v2"])
        self.ours.waits("another port", {"10.1.0.1:8001": "UP", "10.1.0.1:8003": "UP"})
        self.agent.register("shop", "web-2", 8003, Tags=["v2"])
        until(SOON, "another name", lambda: self.ours.instance("10.1.0.1:8003")["service_name"] == "shop")
        check(self.ours.shown() == {"10.1.0.1:8001": "UP", "10.1.0.1:8003": "UP"}, f"{self.ours.shown()}")

    def external(self):
        self.agent.ask("PUT", "/v1/catalog/register", {
            "Node": "elsewhere", "Address": "10.2.0.1", "NodeMeta": {"external-node": "true"},
            "Service": {"ID": "db", "Service": "db", "Port": 5432},
            "Checks": [{"CheckID": "db-check", "Name": "db", "Status": "passing", "ServiceID": "db"}]})
        shown = {"10.1.0.1:8001": "UP", "10.1.0.1:8003": "UP"}
        self.ours.waits("it is shown", {**shown, "10.2.0.1:5432": "UP"})
        check(self.ours.instance("10.2.0.1:5432")["id"] == "elsewhere:db", "its id")
        self.agent.ask("PUT", "/v1/catalog/deregister", {"Node": "elsewhere"})
        self.ours.waits("it is gone", shown)

    def proxies(self):
        before = self.ours.shown()
        self.agent.ask("PUT", "/v1/agent/service/register", {
            "Name": "web-sidecar-proxy", "Kind": "connect-proxy", "Port": 21000,
            "Proxy": {"DestinationServiceName": "web", "DestinationServiceID": "web-1"}})
        self.agent.register("after", "after", 8004)
        self.ours.waits("what came after it is shown", {**before, "10.1.0.1:8004": "UP"})
        self.agent.deregister("web-sidecar-proxy")
        self.agent.deregister("after")
        self.ours.waits("it is as before", before)

    def many(self):
        before, many = self.ours.shown(), range(9000, 9150)
        for port in many:
            self.agent.register(f"s{port}", f"s{port}", port)
        wanted = {**before, **{f"10.1.0.1:{port}": "UP" for port in many}}
        self.ours.waits("all are shown", wanted, PATIENCE)
        for port in (many[0], many[75], many[-1]):
            self.agent.check_is(f"s{port}", "critical")
            wanted[f"10.1.0.1:{port}"] = "DOWN"
        # They take turns.
        self.ours.waits("three of them are down", wanted, PATIENCE)
        for port in many:
            self.agent.deregister(f"s{port}")
        self.ours.waits("all are gone", before, PATIENCE)

    def deregisters(self):
        self.agent.deregister("web-2")
        self.ours.waits("it is gone", {"10.1.0.1:8001": "UP"})

    def outage(self):
        self.agent.stop()
        self.ours.fails()
        time.sleep(2)
        check(self.ours.shown() == {"10.1.0.1:8001": "UP"}, f"{self.ours.shown()}")
        check(self.ours.state()["state"] == "failing", f"{self.ours.state()}")

    def recovery(self):
        self.agent.start()
        self.ours.is_current()
        # The agent keeps its services; a check by TTL that was not renewed may be critical after a restart.
        self.agent.check_is("web-1", "passing")
        self.ours.waits("it is well", {"10.1.0.1:8001": "UP"}, PATIENCE)
        self.agent.register("web", "web-3", 8005)
        self.ours.waits("changes are followed", {"10.1.0.1:8001": "UP", "10.1.0.1:8005": "UP"}, PATIENCE)

    def amnesia(self):
        self.agent.stop()
        self.agent.forget()
        self.agent.start()
        self.ours.waits("nothing is there", {}, PATIENCE)
        self.agent.register("web", "web-9", 8009)
        self.ours.waits("changes are followed", {"10.1.0.1:8009": "UP"}, PATIENCE)
        slowest = max(self.ours.delays)
        print(f"           slowest of {len(self.ours.delays)} changes: {slowest:.2f} s", flush=True)

    def suite(self):
        self.agent.deregister("web-9")
        self.ours.waits("nothing is there", {})
        suite.play("catalog_consul", self.directory, A8_TEST_CONSUL=f"http://127.0.0.1:{self.agent.port}")
        self.ours.waits("it leaves nothing", {})

    def follower(self, name, *options):
        ours = Following(self.binary, self.directory, self.guarded, name, *options)
        self.ends.insert(0, ours.registry.stop)
        ours.registry.start()
        return ours

    def wrong_token(self):
        self.guarded = Agent(self.program, self.directory, "guarded-agent", str(uuid.uuid4()))
        self.ends.append(self.guarded.stop)
        self.guarded.start()
        for service, port in (("web", 8001), ("db", 8002)):
            self.guarded.register(service, service, port)
        secret = str(uuid.uuid4())
        ours = self.follower("wrong-a8registry", "--consul_token", secret)
        check("403" in ours.fails(), f"{ours.state()}")
        check(ours.shown() == {}, f"{ours.shown()}")
        check(secret not in ours.registry.process.log.read_text(), "the token is in the log")
        ours.registry.stop()
        ours = self.follower("right-a8registry", "--consul_token", self.guarded.token)
        ours.waits("both are shown", {"10.1.0.1:8001": "UP", "10.1.0.1:8002": "UP"}, PATIENCE)
        ours.registry.stop()

    def narrow_token(self):
        rules = 'service "web" { policy = "read" } node_prefix "" { policy = "read" }'
        self.guarded.ask("PUT", "/v1/acl/policy", {"Name": "web-only", "Rules": rules})
        _, token = self.guarded.ask("PUT", "/v1/acl/token", {"Policies": [{"Name": "web-only"}]})
        self.narrow = json.loads(token)
        self.narrowed = self.follower("narrow-a8registry", "--consul_token", self.narrow["SecretID"])
        self.narrowed.waits("one is shown", {"10.1.0.1:8001": "UP"}, PATIENCE)

    def revoked_token(self):
        self.guarded.ask("DELETE", f"/v1/acl/token/{self.narrow['AccessorID']}")
        self.guarded.check_is("web", "critical")
        check("403" in self.narrowed.fails(), f"{self.narrowed.state()}")
        check(self.narrowed.state()["state"] == "failing", f"{self.narrowed.state()}")
        check(self.narrowed.shown().keys() == {"10.1.0.1:8001"}, f"{self.narrowed.shown()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", nargs="?", default="bin/a8registry", help="the registry (bin/a8registry)")
    options = parser.parse_args()
    if not os.access(options.binary, os.X_OK):
        sys.exit(f"no registry at {options.binary}; build it first, or name it")
    return conduct("consul", lambda directory, report: run(os.path.abspath(options.binary), directory, report))


def run(binary, directory, report):
    suite.prepare()
    course = Course(agent_program(), binary, directory)
    try:
        report.steps("consul", course.steps())
    finally:
        course.close()


if __name__ == "__main__":
    sys.exit(main())
