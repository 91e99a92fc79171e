"""The course that every client goes through, and how each client is started.

Never: looks into a client other than by what it prints and what it sends.
"""
import base64
import json
import sys
import time
from urllib.parse import urlsplit

from programs import CACHE, HERE, JAVA, Failed, Process, call, go, maven, npm, pip, until
from proxy import Proxy

APP, VIP = "interop-app", "interop-vip"
INTERVAL, LEASE = 1, 3
# How long anything may take that is not bounded by a promise; the machine may be busy compiling.
PATIENCE = 60


class Client:
    """How one client is built and started. The flags say what it can not do."""

    overrides = True      # has a call of its own for status overrides
    deltas = True         # reads by deltas
    ribbon = False        # has a Ribbon load balancer on top
    ignores_added = False  # by deltas it never learns of a new registration of an instance that it has
    asks_first = False    # reads its instance before it registers it
    user = None           # credentials in the URL, "name:password"

    def build(self):
        raise NotImplementedError

    def command(self, url, id_, host, port):
        raise NotImplementedError

    def given(self, url, id_, host, port):
        return [f"url={url}", f"app={APP}", f"id={id_}", f"host={host}", f"port={port}", f"vip={VIP}",
                f"interval={INTERVAL}", f"lease={LEASE}"]


class Netflix(Client):
    def __init__(self, folder, ribbon):
        self.folder, self.ribbon = folder, ribbon

    def build(self):
        self.at = maven(self.folder, self.folder)

    def command(self, url, id_, host, port):
        return [*JAVA, "-Xmx96m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp",
                f"{self.at}/classes:{self.at}/lib/*", "interop.Program", *self.given(url, id_, host, port)]


class Spring(Client):
    def __init__(self, name, user=None, *options):
        self.name, self.user, self.options = name, user, options

    def build(self):
        self.at = maven(self.name, "spring", *self.options)

    def command(self, url, id_, host, port):
        return [*JAVA, "-Xmx128m", "-jar", f"{self.at}/program.jar", "--spring.main.banner-mode=off",
                "--logging.level.root=WARN", f"--spring.application.name={APP}",
                "--server.port=0", "--server.address=127.0.0.1",
                f"--eureka.client.service-url.defaultZone={url}",
                "--eureka.client.registry-fetch-interval-seconds=1",
                "--eureka.client.instance-info-replication-interval-seconds=1",
                "--eureka.client.initial-instance-info-replication-interval-seconds=0",
                "--eureka.client.filter-only-up-instances=false",
                f"--eureka.instance.instance-id={id_}", f"--eureka.instance.hostname={host}",
                "--eureka.instance.ip-address=127.0.0.1", f"--eureka.instance.non-secure-port={port}",
                f"--eureka.instance.virtual-host-name={VIP}",
                f"--eureka.instance.lease-renewal-interval-in-seconds={INTERVAL}",
                f"--eureka.instance.lease-expiration-duration-in-seconds={LEASE}"]


class Python(Client):
    def build(self):
        self.at = pip("python")

    def command(self, url, id_, host, port):
        return ["env", f"PYTHONPATH={self.at}", sys.executable, "-B", str(HERE / "python" / "program.py"),
                *self.given(url, id_, host, port)]


class Node(Client):
    overrides = False

    def __init__(self, deltas):
        self.deltas = self.ignores_added = deltas

    def build(self):
        self.at = npm("node")

    def command(self, url, id_, host, port):
        return ["node", f"{self.at}/program.js", *self.given(url, id_, host, port),
                f"delta={'true' if self.deltas else 'false'}"]


class Go(Client):
    overrides = deltas = False
    asks_first = True

    def __init__(self, xml):
        self.xml = xml

    def build(self):
        self.at = go("go")

    def command(self, url, id_, host, port):
        return [f"{self.at}/program", *self.given(url, id_, host, port), f"xml={'true' if self.xml else 'false'}"]


CLIENTS = {
    "java-eureka1": Netflix("java-eureka1", True),
    "java-eureka2": Netflix("java-eureka2", False),
    "spring": Spring("spring"),
    # The last release train whose client speaks by RestTemplate.
    "spring-resttemplate": Spring("spring-resttemplate", "somebody:secret",
                                  "-Dspring-boot.version=3.5.11", "-Dspring-cloud.version=2025.0.1"),
    "python": Python(),
    "node": Node(True),
    "node-full": Node(False),
    "go": Go(False),
    "go-xml": Go(True),
}


# Who registers, and who of another kind watches: what one wrote, the other must be able to read.
PAIRS = {
    "node-seen-by-java": ("node", "java-eureka1"),
    "java-seen-by-python": ("java-eureka2", "python"),
    "python-seen-by-spring": ("python", "spring"),
    "spring-seen-by-node": ("spring", "node"),
    "go-seen-by-java": ("go-xml", "java-eureka1"),
}


class Member:
    """One running client behind a proxy of its own."""

    def __init__(self, client, server, directory, name, port):
        self.client = client
        self.id = f"{name}.interop:{APP}:{port}"
        self.host, self.port = f"{name}.interop", port
        self.proxy = Proxy(server.port)
        user = f"{client.user}@" if client.user else ""
        url = f"http://{user}127.0.0.1:{self.proxy.port}{server.root}"
        self.root = server.root
        self.process = Process(f"{server.label}-{name}", client.command(url, self.id, self.host, self.port), directory)

    def entry(self, status):
        return [self.id, status, self.host, self.port]

    def waits_view(self, what, entry, seconds=PATIENCE):
        """Waits until the newest view has the entry (id, status, host, port)."""
        until(seconds, f"{self.process.name}: {what}; view {self.view()}", lambda: entry in self.view())

    def waits_gone(self, what, id_, seconds=PATIENCE):
        until(seconds, f"{self.process.name}: {what}", lambda: all(one[0] != id_ for one in self.view()))

    def view(self):
        """What the client saw last: [id, status, host, port] of each instance."""
        if self.process.child.poll() is not None:
            raise Failed(f"{self.process.name} ended by itself, see {self.process.log}")
        for _, word in reversed(self.process.words()):
            if "view" in word:
                return [one[1:] for one in word["view"]]
        return []

    def last(self, key):
        for _, word in reversed(self.process.words()):
            if key in word:
                return word[key]
        return None

    def calls(self, method, tail, start=0):
        """The exchanges of a method whose path, without its query and root, fits `tail`."""
        return [one for one in self.proxy.log(start)
                if one.method == method and tail(one.path.partition("?")[0][len(self.root):].rstrip("/"))]

    def heartbeats(self, start=0):
        return self.calls("PUT", lambda path: path.startswith("apps/") and path.count("/") == 2, start)

    def registrations(self, start=0):
        return self.calls("POST", lambda path: path.startswith("apps/") and path.count("/") == 1, start)

    def fulls(self, start=0):
        return self.calls("GET", lambda path: path == "apps", start)

    def deltas(self, start=0):
        return self.calls("GET", lambda path: path == "apps/delta", start)

    def cancels(self, start=0):
        return self.calls("DELETE", lambda path: path.startswith("apps/") and path.count("/") == 2, start)

    def order(self, line, seconds=PATIENCE):
        start = self.process.mark()
        self.process.order(line)
        word = line.split()[0]
        return self.process.wait_said(seconds, f"does {word}", lambda said: said.get("did") == word, start)

    def close(self):
        self.process.stop()
        self.proxy.close()


def check(condition, text):
    if not condition:
        raise Failed(text)


class Course:
    """Two instances, an actor and an observer, of one client or of two, and what must be true of both."""

    def __init__(self, name, client, watcher, server, directory):
        self.name, self.client, self.watcher, self.server, self.directory = name, client, watcher, server, directory
        self.server.label = f"{name}-{server.name}"
        self.facts = []
        self.observer = self.actor = None
        self.marked = 0
        self.away = (0.0, 0.0)  # when the server was being restarted

    def steps(self):
        yield "registers", self.registers
        yield "is seen by another", self.is_seen
        yield "renews beyond its lease", self.renews
        yield "is put out of service and back", self.overrides
        yield "loses one that died", self.loses_dead
        if self.watcher.deltas:
            yield "follows by deltas alone", self.deltas_only
        # After the deltas were counted: py-eureka-client fetches everything when an application is new to it.
        if self.server.amalgam8:
            yield "sees an Amalgam8 registration", self.sees_native
        if self.server.restarts:
            yield "registers again after a restart", self.restarts
        yield "deregisters", self.deregisters
        yield "sent nothing that was refused", self.nothing_refused

    def close(self):
        for member in (self.actor, self.observer):
            if member:
                member.close()

    def registers(self):
        at = time.monotonic()
        self.observer = Member(self.watcher, self.server, self.directory, "b", 8002)
        self.observer.waits_view("sees itself", self.observer.entry("UP"))
        posts = self.observer.registrations()
        check(posts and all(one.status == 204 for one in posts), f"answers to registrations: {statuses(posts)}")
        self.facts.append(f"sees itself {time.monotonic() - at:.1f} s after its start")
        if self.watcher.deltas:
            self.settle(self.observer)

    def settle(self, member):
        """Waits for three deltas in a row after which the client asked for nothing more."""
        def settled():
            start = member.proxy.mark()
            until(PATIENCE, "three deltas", lambda: len(member.deltas(start)) >= 3 or None)
            return not member.fulls(start)
        until(PATIENCE, f"{member.process.name} settles on deltas", settled)

    def is_seen(self):
        self.marked = self.observer.proxy.mark()
        self.actor = Member(self.client, self.server, self.directory, "a", 8001)
        until(PATIENCE, "the actor registers", lambda: any(p.status == 204 for p in self.actor.registrations()))
        at = time.monotonic()
        self.observer.waits_view("sees the other", self.actor.entry("UP"))
        self.facts.append(f"other sees it {time.monotonic() - at:.1f} s after its 204")
        self.actor.waits_view("sees the other", self.observer.entry("UP"))
        self.listed(self.actor, "UP")
        if self.watcher.ribbon:
            self.ribbon({self.actor, self.observer})

    def ribbon(self, members, extra=()):
        wanted = sorted([f"{m.host}:{m.port}" for m in members] + list(extra))
        until(PATIENCE, f"Ribbon has {wanted}", lambda: sorted(self.observer.last("ribbon") or []) == wanted)

    def listed(self, member, status):
        """What the server itself and an Amalgam8 reader say."""
        until(PATIENCE, f"the server lists {member.id} {status}",
              lambda: self.server.apps().get(member.id, ("", ""))[1] == status)
        if self.server.amalgam8:
            seen = self.amalgam8(member)
            check(seen == status, f"an Amalgam8 reader sees {seen}, not {status}")
            usable = self.amalgam8(member, "")
            check(usable == (status if status == "UP" else None), f"an Amalgam8 reader uses {usable} of {status}")

    def amalgam8(self, member, *query):
        for (service, value), status in self.server.instances(*query).items():
            if service.lower() == APP and str(member.port) in value:
                return status
        return None

    def renews(self):
        posts = self.actor.registrations()
        until(PATIENCE, "the first seconds", lambda: time.monotonic() > posts[0].at + 3)
        proxy_start, said_start = self.actor.proxy.mark(), self.observer.process.mark()
        at = time.monotonic()
        until(PATIENCE, "heartbeats", lambda: time.monotonic() > at + 3 * LEASE
              and len(self.actor.heartbeats(proxy_start)) >= 5)
        beats = self.actor.heartbeats(proxy_start)
        check(all(one.status == 200 for one in beats), f"answers to heartbeats: {statuses(beats)}")
        check(all(one.answer_size == 0 for one in beats), "an answer to a heartbeat has a body")
        check(not self.actor.registrations(proxy_start), "registered again without need")
        for _, word in self.observer.process.words(said_start):
            check("view" not in word or self.actor.entry("UP") in [one[1:] for one in word["view"]],
                  f"was lost in between: {word}")
        self.listed(self.actor, "UP")
        beat = beats[-1]
        self.facts.append(f"heartbeat: {beat.method} {beat.path} {shown(beat)}")

    def overrides(self):
        member = self.actor
        path = f"{self.server.root}apps/{APP}/{member.id}/status"
        if self.client.overrides:
            said = member.order("override OUT_OF_SERVICE")
            check(said["status"] == 200, f"the override: {said}")
        else:
            check(call(self.server.port, "PUT", f"{path}?value=OUT_OF_SERVICE")[0] == 200, "the override")
        self.observer.waits_view("sees OUT_OF_SERVICE", member.entry("OUT_OF_SERVICE"))
        start = member.proxy.mark()
        until(PATIENCE, "two heartbeats", lambda: len(member.heartbeats(start)) >= 2)
        self.observer.waits_view("still sees OUT_OF_SERVICE", member.entry("OUT_OF_SERVICE"))
        self.listed(member, "OUT_OF_SERVICE")
        if member.last("remote") is not None:
            until(PATIENCE, "knows its own override", lambda: member.last("remote") == "OUT_OF_SERVICE")
        if self.watcher.ribbon:
            self.ribbon({self.observer})
        start = member.proxy.mark()
        if self.client.ignores_added or self.watcher.ignores_added:
            # Straight to UP: on the way by UNKNOWN and a new registration such a client stays at UNKNOWN.
            check(call(self.server.port, "DELETE", f"{path}?value=UP")[0] == 200, "the end of the override")
        elif self.client.overrides:
            said = member.order("clear")
            check(said["status"] == 200, f"the end of the override: {said}")
        else:
            check(call(self.server.port, "DELETE", path)[0] == 200, "the end of the override")
        self.observer.waits_view("sees UP again", member.entry("UP"))
        self.facts.append("after the override: " + sequence(member.proxy.log(start), ("PUT", "POST", "DELETE")))
        self.listed(member, "UP")
        if self.watcher.ribbon:
            self.ribbon({self.actor, self.observer})

    def loses_dead(self):
        body = {"instance": {
            "instanceId": "ghost", "hostName": "ghost.interop", "app": APP.upper(), "ipAddr": "127.0.0.9",
            "vipAddress": VIP, "status": "UP", "port": {"$": 8009, "@enabled": "true"},
            "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
            "leaseInfo": {"renewalIntervalInSecs": INTERVAL, "durationInSecs": LEASE}}}
        status, _, _ = call(self.server.port, "POST", f"{self.server.root}apps/{APP}",
                            {"Content-Type": "application/json"}, json.dumps(body))
        check(status == 204, f"the dying one is refused: {status}")
        at = time.monotonic()
        # The cadence of the client is one second; a lease of three leaves room to be seen.
        self.observer.waits_view("sees the dying one", ["ghost", "UP", "ghost.interop", 8009])
        if self.watcher.ribbon:
            self.ribbon({self.actor, self.observer}, ["ghost.interop:8009"])
        self.observer.waits_gone("loses the dead one", "ghost")
        self.facts.append(f"loses one that died {time.monotonic() - at:.1f} s after its only sign of life "
                          f"(lease {LEASE} s)")
        if self.watcher.ribbon:
            self.ribbon({self.actor, self.observer})

    def sees_native(self):
        body = {"service_name": "native", "endpoint": {"type": "tcp", "value": "10.0.0.9:9090"}, "ttl": 4}
        status, _, _ = call(self.server.port, "POST", "/api/v1/instances", {"Content-Type": "application/json"},
                            json.dumps(body))
        check(status == 201, f"the Amalgam8 registration: {status}")

        def native():
            return [one for one in self.observer.view() if one[2:] == ["10.0.0.9", 9090]]
        seen = until(PATIENCE, "sees the Amalgam8 registration", native)
        check(seen[0][1] == "UP", f"sees it as {seen}")
        until(PATIENCE, "loses the Amalgam8 registration", lambda: not native())

    def deltas_only(self):
        fulls, deltas = self.observer.fulls(self.marked), self.observer.deltas(self.marked)
        check(deltas and all(one.status == 200 for one in deltas), f"answers to deltas: {statuses(deltas)}")
        check(not fulls, f"asked {len(fulls)} times for everything besides {len(deltas)} deltas")
        self.facts.append(f"{len(deltas)} deltas, {len(fulls)} full lists")

    def restarts(self):
        starts = {m: m.proxy.mark() for m in (self.actor, self.observer)}
        down = time.monotonic()
        self.server.restart()
        at = time.monotonic()
        self.away = (down, at)
        for member, start in starts.items():
            until(PATIENCE, f"{member.process.name} registers again",
                  lambda: any(one.status == 204 for one in member.registrations(start)))
            self.listed(member, "UP")
        self.facts.append(f"both registered again {time.monotonic() - at:.1f} s after the restart")
        for member in starts:
            for other in starts:
                member.waits_view("sees all again", other.entry("UP"))
        if self.watcher.deltas:
            # A client whose hash does not match may read everything again, but not for ever.
            self.settle(self.observer)

    def deregisters(self):
        for member, other in ((self.actor, self.observer), (self.observer, None)):
            member.process.order("quit")
            member.process.wait_said(PATIENCE, "quits", lambda said: said.get("did") == "quit")
            cancels = member.cancels()
            status = cancels[-1].status if cancels else None
            check(status == 200, f"the answer to the deregistration: {status}")
            code = member.process.wait_end(PATIENCE)
            check(code == 0, f"exit status {code}")
            if other:
                other.waits_gone("sees the other leave", member.id)
            check(member.id not in self.server.apps(), "the server still lists it")
            if self.server.amalgam8:
                check(self.amalgam8(member) is None, "an Amalgam8 reader still sees it")

    def nothing_refused(self):
        for member in (self.actor, self.observer):
            for one in member.proxy.log():
                beat = one.method == "PUT" and "/status" not in one.path
                away = one.status == 503 and self.away[0] <= one.at <= self.away[1]
                asks = member.client.asks_first and one.method == "GET" and one.path.endswith(member.id)
                check(one.status < 400 or (beat or asks) and one.status == 404 or away,
                      f"{one.method} {one.path}: {one.status}")
                if member.client.user:
                    wanted = "Basic " + base64.b64encode(member.client.user.encode()).decode()
                    check(one.headers.get("authorization") == wanted, f"{one.path} came without credentials")

    def sent(self):
        """The first request of each kind that the actor sent."""
        first = {}
        for one in self.actor.proxy.log() if self.actor else []:
            first.setdefault((one.method, urlsplit(one.path).path), one)
        return list(first.values())


def statuses(exchanges):
    return sorted({one.status for one in exchanges})


def shown(one):
    """The headers of a request that matter here."""
    kept = {k: v for k, v in one.headers.items() if k not in ("host", "user-agent", "authorization")}
    return json.dumps(kept) + (f" body {len(one.body)} B" if one.body else "")


def sequence(exchanges, methods):
    words = []
    for one in exchanges:
        if one.method in methods:
            kind = {"PUT": "renew", "POST": "register", "DELETE": "cancel"}[one.method]
            if "/status" in one.path:
                kind = {"PUT": "override", "DELETE": "remove override"}[one.method]
            words.append(f"{kind} {one.status}")
    return ", ".join(words)
