"""A registry that follows a real Eureka server, in which real clients are registered.

Never: writes to the registry other than to see it refused.
"""
import json
import os
import time

import suite
from clients import APP, CLIENTS, PATIENCE, Member, check
from programs import Failed, LeftOut, Reference, Registry, call, free_port, until
from proxy import Proxy

POLL = 0.5


class Catalog:
    def __init__(self, options, directory):
        self.directory = directory
        # A Netflix client, and one of another kind; what one kind leaves out the other may say.
        self.clients = [CLIENTS["java-eureka1"], CLIENTS["python"]]
        for client in self.clients:
            client.build()
        self.followed = Reference(directory, name="followed-eureka-server")
        self.followed.root, self.followed.label = "/eureka/", "catalog"
        self.proxy = Proxy(self.followed.port)
        self.registry = Registry(os.path.abspath(options.binary), directory,
                                 "--eureka_url", f"http://127.0.0.1:{free_port()}/eureka",
                                 "--eureka_url", f"http://127.0.0.1:{self.proxy.port}/eureka/",
                                 "--eureka_poll", f"{int(POLL * 1000)}ms", name="catalog-a8registry")
        self.members = []

    def close(self):
        for member in self.members:
            member.close()
        self.registry.stop()
        self.followed.stop()
        self.proxy.close()

    def steps(self):
        yield "the registry starts with servers that are not there", self.registry.start
        yield "the real server starts and is followed", self.starts
        yield "the suite that all catalogs play", self.suite
        yield "a real client registers and is shown", self.appears
        yield "it is shown as its server has it", self.looks
        yield "status override", self.overrides
        yield "nobody can change it here", self.read_only
        yield "a client of another kind registers", self.second
        yield "deltas are enough", self.deltas
        yield "the server goes, what it had stays", self.outage
        yield "the server comes back empty, its clients register again", self.recovery
        yield "a client deregisters", self.deregisters
        yield "a client dies", self.dies

    def state(self):
        _, _, body = call(self.registry.port, "GET", "/health/ready")
        return json.loads(body)["components"]["CATALOG_EUREKA"]["properties"]

    def shown(self):
        return {value: status for (service, value), status in self.registry.instances().items()
                if service.lower() == APP}

    def waits(self, what, wanted):
        try:
            until(PATIENCE, what, lambda: self.shown() == wanted)
        except Failed as error:
            raise Failed(f"{error}; shown: {self.shown()}, wanted: {wanted}") from error

    def asked(self, path, start=0):
        return [one for one in self.proxy.log(start) if one.path.rstrip("/") == f"/eureka/{path}"]

    def joins(self, client, name, port):
        member = Member(client, self.followed, self.directory, name, port)
        self.members.append(member)
        until(PATIENCE, f"{name} registers", lambda: any(one.status == 204 for one in member.registrations()))
        return member

    def starts(self):
        check(self.registry.instances() == {}, "there is something before anything is")
        until(PATIENCE, "it fails", lambda: self.state().get("last_error"))
        self.followed.start()
        until(PATIENCE, "it is current", lambda: self.state()["state"] == "current")

    def suite(self):
        suite.play("catalog_eureka", self.directory, A8_TEST_EUREKA=f"http://127.0.0.1:{self.followed.port}")
        until(PATIENCE, "it leaves nothing", lambda: self.registry.instances() == {})

    def appears(self):
        self.joins(self.clients[0], "a", 8001)
        self.waits("it is shown", {"a.interop:8001": "UP"})

    def looks(self):
        member = self.members[0]
        path = f"/eureka/apps/{APP.upper()}/{member.id}"
        headers = {"Accept": "application/json"}
        theirs = json.loads(call(self.followed.port, "GET", path, headers)[2])["instance"]
        ours = json.loads(call(self.registry.port, "GET", path, headers)[2])["instance"]
        moving = {"leaseInfo", "lastUpdatedTimestamp", "actionType"}
        for key in (theirs.keys() | ours.keys()) - moving:
            check(theirs.get(key) == ours.get(key), f"{key} is {ours.get(key)!r}, the server has {theirs.get(key)!r}")
        for key in ("durationInSecs", "renewalIntervalInSecs", "registrationTimestamp"):
            check(theirs["leaseInfo"][key] == ours["leaseInfo"][key], f"{key} is not the server's")

    def overrides(self):
        said = self.members[0].order("override OUT_OF_SERVICE")
        check(said["status"] == 200, f"the override: {said}")
        self.waits("it is out of service", {"a.interop:8001": "OUT_OF_SERVICE"})
        check(self.registry.instances("") == {}, "it is shown to those who want what they may use")
        said = self.members[0].order("clear")
        check(said["status"] == 200, f"the end of the override: {said}")
        self.waits("it is in service again", {"a.interop:8001": "UP"})

    def read_only(self):
        path = f"/eureka/apps/{APP.upper()}/{self.members[0].id}"
        for method, more in (("PUT", ""), ("PUT", "/status?value=DOWN"), ("DELETE", "")):
            status, _, body = call(self.registry.port, method, path + more)
            check((status, body) == (404, b""), f"{method} {more}: {status} {body[:100]!r}")
        check(self.shown() == {"a.interop:8001": "UP"}, "it changed")

    def second(self):
        self.joins(self.clients[1], "b", 8002)
        self.waits("both are shown", {"a.interop:8001": "UP", "b.interop:8002": "UP"})

    def deltas(self):
        def settled():
            start = self.proxy.mark()
            until(PATIENCE, "five deltas", lambda: len(self.asked("apps/delta", start)) >= 5)
            return not self.asked("apps", start)
        until(PATIENCE, "it settles on deltas", settled)
        start = self.proxy.mark()
        for order, status in (("override OUT_OF_SERVICE", "OUT_OF_SERVICE"), ("clear", "UP")):
            self.members[0].order(order)
            self.waits(order, {"a.interop:8001": status, "b.interop:8002": "UP"})
        check(not self.asked("apps", start), "a status change made it read everything")

    def outage(self):
        self.followed.stop()
        until(PATIENCE, "it fails", lambda: self.state()["state"] == "failing")
        time.sleep(5 * POLL)
        check(self.shown() == {"a.interop:8001": "UP", "b.interop:8002": "UP"}, f"shown: {self.shown()}")
        check(call(self.registry.port, "GET", "/health/ready")[0] == 200, "it is not ready")

    def recovery(self):
        self.followed.start()
        until(PATIENCE, "it is current", lambda: self.state()["state"] == "current")
        self.waits("both are shown again", {"a.interop:8001": "UP", "b.interop:8002": "UP"})

    def deregisters(self):
        member = self.members[0]
        member.process.order("quit")
        member.process.wait_said(PATIENCE, "quits", lambda said: said.get("did") == "quit")
        self.waits("it is gone", {"b.interop:8002": "UP"})

    def dies(self):
        self.members[1].process.child.kill()
        self.waits("nothing is left", {})
        until(PATIENCE, "it says that it has none", lambda: self.state()["instances"] == 0)


def run(options, directory, report):
    if options.reference:
        report.left_out.append("catalog: needs the registry itself")
        return
    try:
        suite.prepare()
        catalog = Catalog(options, directory)
    except LeftOut as reason:
        report.left_out.append(f"catalog: {reason}")
        return
    try:
        report.steps("catalog", catalog.steps())
    finally:
        catalog.close()
