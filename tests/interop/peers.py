"""The registry and a real Eureka server as each other's peers, watched through proxies in both directions.

Never: lets one of the two see the other but through its proxy.
"""
import gzip
import json
import os
import threading
import time

from programs import Failed, LeftOut, Reference, Registry, call, until
from proxy import Proxy

APP = "PEERED"
# The promise: a write on one side appears on the other within this time. A first contact may take longer.
PROMISE = 2.0
LEASE = 6


class Side:
    """One of the two servers, written to as a client would."""

    def __init__(self, server, root):
        self.server, self.root = server, root

    def call(self, method, path, body=None, headers=None):
        got = dict(headers or {})
        if body is not None:
            got["Content-Type"] = "application/json"
        return call(self.server.port, method, self.root + path, got, json.dumps(body) if body is not None else None)

    def register(self, id_, **members):
        now = int(time.time() * 1000)
        body = {"instanceId": id_, "hostName": f"{id_}.interop", "app": APP, "ipAddr": "127.0.0.8", "vipAddress": "peered",
                "status": "UP", "port": {"$": 8010, "@enabled": "true"}, "lastDirtyTimestamp": str(now),
                "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
                "leaseInfo": {"renewalIntervalInSecs": 1, "durationInSecs": LEASE}, **members}
        wanted(self.call("POST", f"apps/{APP}", {"instance": body}), 204, f"registration at {self.server.name}")
        return now

    def renew(self, id_, dirty):
        return self.call("PUT", f"apps/{APP}/{id_}?status=UP&lastDirtyTimestamp={dirty}")[0]

    def instance(self, id_):
        status, _, body = self.call("GET", f"apps/{APP}/{id_}", headers={"Accept": "application/json"})
        if status == 404:
            return None
        if status != 200:
            raise Failed(f"{self.server.name}: GET {id_}: {status}")
        return json.loads(body)["instance"]


def as_peer_of(url):
    return ("--spring.application.name=eureka", "--eureka.instance.hostname=localhost",
            f"--eureka.client.service-url.defaultZone={url}", "--eureka.client.register-with-eureka=true",
            "--eureka.client.fetch-registry=true", "--eureka.client.registry-fetch-interval-seconds=5",
            "--eureka.instance.lease-renewal-interval-in-seconds=5",
            "--eureka.client.initial-instance-info-replication-interval-seconds=1")


def wanted(answer, status, what):
    if answer[0] != status:
        raise Failed(f"{what}: {answer[0]} {answer[2][:200]!r}")


class Renewer:
    """Renews a set of instances once a second, each on its side."""

    def __init__(self):
        self.held = {}
        self.refused = []
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def hold(self, side, id_, dirty):
        with self.lock:
            self.held[id_] = (side, dirty)

    def drop(self, id_):
        with self.lock:
            self.held.pop(id_, None)

    def _run(self):
        while not self.over.wait(1):
            with self.lock:
                held = list(self.held.items())
            for id_, (side, dirty) in held:
                try:
                    status = side.renew(id_, dirty)
                except OSError as error:
                    status = str(error)
                if status != 200:
                    with self.lock:
                        if id_ in self.held:
                            self.refused.append((id_, status))

    def close(self):
        self.over.set()
        self.thread.join(5)


class Peers:
    def __init__(self, options, directory):
        self.minutes = options.peer_minutes
        binary = os.path.abspath(options.binary)
        self.renewer = Renewer()
        self.delays = []
        # Each knows the other by its proxy; the proxies exist first, so the ports are known.
        theirs = Reference(directory, name="peer-eureka-server")
        self.to_theirs = Proxy(theirs.port)
        their_url = f"http://127.0.0.1:{self.to_theirs.port}/eureka/"
        if options.reference:
            ours = Reference(directory, name="peer-other-eureka-server")
        else:
            ours = Registry(binary, directory, "--eureka_peer_url", their_url, name="peer-a8registry")
        self.to_ours = Proxy(ours.port)
        # A Java server takes a peer whose host is its own host name for itself: hence another name.
        theirs.options = as_peer_of(f"http://127.0.0.1:{self.to_ours.port}/eureka/")
        if options.reference:
            ours.options = as_peer_of(their_url)
        self.ours, self.theirs = Side(ours, "/eureka/"), Side(theirs, "/eureka/")

    def close(self):
        self.renewer.close()
        self.ours.server.stop()
        self.theirs.server.stop()
        self.to_ours.close()
        self.to_theirs.close()

    def steps(self):
        yield "the registry starts with a peer that is not there", self.ours.server.start
        yield "an instance registered before the peer came", self.early
        yield "the real server starts and finds it", self.starts
        yield "the real server registers itself with the registry", self.server_is_listed
        for here, there, name in ((self.ours, self.theirs, "from the registry"), (self.theirs, self.ours, "from the real server")):
            for text, work in (("register", self.register), ("renewals hold the lease", self.renewed),
                               ("status override", self.override), ("override removed", self.unoverride),
                               ("metadata", self.metadata), ("cancel", self.cancel), ("expiry", self.expiry)):
                yield f"{text} {name}", lambda work=work, here=here, there=there: work(here, there)
        yield "what the real server refuses is told once, and mended by a renewal", self.refused
        yield "a whole list is taken over at a restart", self.restart
        yield f"no loops and no growth in {self.minutes:g} min", self.steady

    def seen(self, there, id_, what, condition, seconds=PROMISE):
        at = time.monotonic()
        until(seconds, f"{what} on {there.server.name}", lambda: condition(there.instance(id_)), 0.02)
        self.delays.append(time.monotonic() - at)

    def early(self):
        dirty = self.ours.register("early")
        self.renewer.hold(self.ours, "early", dirty)

    def starts(self):
        self.theirs.server.start()
        # By the list that it reads at its start, or by the first heartbeat after it.
        self.seen(self.theirs, "early", "the early one", bool, 30)

    def server_is_listed(self):
        until(60, "the real server among our applications", lambda: any(
            app == "EUREKA" for app, _ in self.ours.server.apps().values()))

    def id(self, here):
        return "from-" + ("ours" if here is self.ours else "theirs")

    def register(self, here, there):
        id_ = self.id(here)
        dirty = here.register(id_, metadata={"colour": "blue"})
        self.renewer.hold(here, id_, dirty)
        self.seen(there, id_, "the registration", lambda it: it and it["status"] == "UP")
        it = there.instance(id_)
        for member, value in (("hostName", f"{id_}.interop"), ("vipAddress", "peered"), ("lastDirtyTimestamp", str(dirty))):
            if it.get(member) != value:
                raise Failed(f"{member} is {it.get(member)!r}, not {value!r}")
        if it["port"] != {"$": 8010, "@enabled": "true"} or it["metadata"].get("colour") != "blue":
            raise Failed(f"port or metadata differ: {it}")
        if it["leaseInfo"]["durationInSecs"] != LEASE:
            raise Failed(f"lease differs: {it['leaseInfo']}")

    def renewed(self, here, there):
        id_, start = self.id(here), time.monotonic()
        # Twice, since Eureka's own expiry takes up to twice the lease.
        while time.monotonic() < start + 2 * LEASE + 2:
            for side in (here, there):
                if not side.instance(id_):
                    raise Failed(f"lost on {side.server.name} after {time.monotonic() - start:.1f} s")
            time.sleep(0.25)
        if self.renewer.refused:
            raise Failed(f"refused heartbeats: {self.renewer.refused[:5]}")

    def override(self, here, there):
        id_ = self.id(here)
        wanted(here.call("PUT", f"apps/{APP}/{id_}/status?value=OUT_OF_SERVICE"), 200, "override")
        self.seen(there, id_, "the override", lambda it: it and it["status"] == "OUT_OF_SERVICE")
        time.sleep(3)
        for side in (here, there):
            status = side.instance(id_)["status"]
            if status != "OUT_OF_SERVICE":
                raise Failed(f"{side.server.name} forgot the override after some heartbeats: {status}")

    def unoverride(self, here, there):
        id_ = self.id(here)
        wanted(here.call("DELETE", f"apps/{APP}/{id_}/status?value=UP"), 200, "end of the override")
        self.seen(there, id_, "the end of the override", lambda it: it and it["status"] == "UP")
        time.sleep(3)
        for side in (here, there):
            if side.instance(id_)["status"] != "UP":
                raise Failed(f"{side.server.name} went back: {side.instance(id_)['status']}")

    def metadata(self, here, there):
        # The protocol has no action for metadata: it travels as a registration, with the timestamp unchanged.
        id_ = self.id(here)
        wanted(here.call("PUT", f"apps/{APP}/{id_}/metadata?colour=red"), 200, "metadata")
        self.seen(there, id_, "the metadata", lambda it: it and it["metadata"].get("colour") == "red")

    def cancel(self, here, there):
        id_ = self.id(here)
        self.renewer.drop(id_)
        wanted(here.call("DELETE", f"apps/{APP}/{id_}"), 200, "cancel")
        self.seen(there, id_, "the cancel", lambda it: it is None)
        time.sleep(3)
        for side in (here, there):
            if side.instance(id_):
                raise Failed(f"it came back on {side.server.name}")

    def expiry(self, here, there):
        """Each side forgets by itself one that is silent, and neither revives it."""
        id_ = self.id(here) + "-silent"
        here.register(id_)
        self.seen(there, id_, "the registration", bool)
        until(3 * LEASE + 5, f"{id_} is gone on both", lambda: not here.instance(id_) and not there.instance(id_))
        time.sleep(3)
        for side in (here, there):
            if side.instance(id_):
                raise Failed(f"it came back on {side.server.name}")

    def refused(self):
        """The real server answers a registration in a batch by 200 whatever it makes of it; what it refuses is a change
        of an instance that it does not have."""
        id_, later = "refused", "after-the-refused"
        dirty = self.ours.register(id_)
        self.seen(self.theirs, id_, "the registration", bool)
        wanted(self.theirs.call("DELETE", f"apps/{APP}/{id_}", headers={"x-netflix-discovery-replication": "true"}),
               200, "cancel as a peer's")
        start = self.to_theirs.mark()
        wanted(self.ours.call("PUT", f"apps/{APP}/{id_}/status?value=OUT_OF_SERVICE"), 200, "override")

        def told(of):
            return [item for one in self.to_theirs.log(start) for item in items(one) if item["id"] == of]
        until(PROMISE, "the override is told", lambda: told(id_))
        if isinstance(self.ours.server, Registry):
            until(PROMISE, "the refusal is counted", lambda: any(
                line.startswith("a8_peer_items_total") and 'result="refused"' in line and float(line.split()[-1]) >= 1
                for line in call(self.ours.server.port, "GET", "/metrics")[2].decode().splitlines()))
        for number in range(3):
            self.ours.register(f"{later}-{number}")
            self.seen(self.theirs, f"{later}-{number}", "a later write", bool)
        if self.theirs.instance(id_) or [item["action"] for item in told(id_)] != ["StatusUpdate"]:
            raise Failed(f"it is not left at that: {told(id_)}")
        if self.ours.renew(id_, dirty) != 200:
            raise Failed("the renewal is refused")
        self.seen(self.theirs, id_, "the instance with its override", lambda it: it and it["status"] == "OUT_OF_SERVICE")
        for one in (id_, *(f"{later}-{number}" for number in range(3))):
            wanted(self.ours.call("DELETE", f"apps/{APP}/{one}"), 200, "cancel")
            self.seen(self.theirs, one, "the cancel", lambda it: it is None)

    def restart(self):
        dirty = self.theirs.register("kept")
        self.renewer.hold(self.theirs, "kept", dirty)
        wanted(self.theirs.call("PUT", f"apps/{APP}/kept/status?value=OUT_OF_SERVICE"), 200, "override")
        self.seen(self.ours, "kept", "the override", lambda it: it and it["status"] == "OUT_OF_SERVICE")
        self.renewer.drop("early")
        self.ours.server.restart()
        self.seen(self.ours, "kept", "the instance with its override",
                  lambda it: it and it["status"] == "OUT_OF_SERVICE", 5)
        dirty = self.ours.register("early")
        self.renewer.hold(self.ours, "early", dirty)
        del self.renewer.refused[:]

    def steady(self):
        """Heartbeats of two instances on each side, and nothing else: the rate of requests and items may not rise."""
        for side, id_ in ((self.ours, "steady-ours"), (self.theirs, "steady-theirs")):
            self.renewer.hold(side, id_, side.register(id_))
        time.sleep(5)
        # At least three spans to compare, of at most a minute.
        span = min(60.0, self.minutes * 60 / 3)
        counts = []
        for _ in range(max(3, round(self.minutes * 60 / span))):
            marks = self.to_ours.mark(), self.to_theirs.mark()
            time.sleep(span)
            counts.append([traffic(proxy.log(mark)) for proxy, mark in zip((self.to_ours, self.to_theirs), marks)])
        for at, direction in enumerate(("to the registry", "to the real server")):
            rows = [count[at] for count in counts]
            print(f"           {direction}, per {span:g} s: requests {[row['requests'] for row in rows]}, "
                  f"items {[row['items'] for row in rows]}", flush=True)
            for key in ("requests", "items"):
                first, last = rows[0][key], rows[-1][key]
                if last > first * 1.3 + 5:
                    raise Failed(f"{key} {direction} grow: {[row[key] for row in rows]}")
            # One heartbeat a second of two instances, with what the servers tell each other of themselves.
            most = max(row["items"] for row in rows)
            if most > 3 * 2 * span:
                raise Failed(f"{most} items {direction} in {span:g} s: more than clients can have caused")
            actions = {}
            for row in rows:
                for action, count in row["actions"].items():
                    actions[action] = actions.get(action, 0) + count
            if actions.get("Register", 0) > 4:
                raise Failed(f"registrations go round: {actions} {direction}")
        for id_ in ("early", "kept", "steady-ours", "steady-theirs"):
            for side in (self.ours, self.theirs):
                if not side.instance(id_):
                    raise Failed(f"{id_} is missing on {side.server.name}")
        if self.renewer.refused:
            raise Failed(f"refused heartbeats: {self.renewer.refused[:5]}")
        print(f"           a write appeared on the other side after at most {max(self.delays):.2f} s", flush=True)


def items(exchange):
    """The items of a batch; none of another request."""
    if "/peerreplication/batch" not in exchange.path:
        return []
    is_zipped = exchange.headers.get("content-encoding") == "gzip"
    return json.loads(gzip.decompress(exchange.body) if is_zipped else exchange.body)["replicationList"]


def traffic(exchanges):
    """Requests, and items of replication by action."""
    actions = {}
    for one in exchanges:
        for item in items(one):
            actions[item["action"]] = actions.get(item["action"], 0) + 1
    return {"requests": len(exchanges), "items": sum(actions.values()), "actions": actions}


def run(options, directory, report):
    try:
        peers = Peers(options, directory)
    except LeftOut as reason:
        report.left_out.append(f"peers: {reason}")
        return
    try:
        for at, (text, work) in enumerate(peers.steps()):
            if not report.step("peers", text, work) and at < 4:
                break
    finally:
        peers.close()
