"""Three registries on one Redis with a replica and three sentinels, as compose-redis.yaml starts them.

Never: starts anything but by Compose.
"""
import secrets
import threading
import time
from functools import partial

from engine import PATIENCE, PORTS, Project, has, register, renew, same, say
from programs import Failed, until

# The copies that registries answer from.
SOON = 10
# A master is missed after 3 s, sentinels agree, registries come back within 2 s.
FAILOVER = 30
TTL = 20
REGISTRIES = ("registry-1", "registry-2", "registry-3")
SENTINELS = ("sentinel-1", "sentinel-2", "sentinel-3")


class Client:
    """An instance that is renewed once a second at one registry after the other, until it is told to stop."""

    def __init__(self, identifier):
        self.identifier = identifier
        self.refused = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        turn = 0
        while not self.ended.wait(1):
            turn += 1
            if not renew(PORTS[turn % 3], self.identifier):
                self.refused += 1

    def stop(self):
        self.ended.set()
        self.thread.join()


class Course:
    def __init__(self, engine, _work):
        self.project = Project(engine, "compose-redis.yaml", REDIS_PASSWORD=secrets.token_hex(16))
        self.client = None
        self.kept = None
        self.addresses = {}

    def steps(self):
        return [(text, partial(step, self)) for step, text in (
            (Course.wants_password, "without a password nothing starts, and it is said why"),
            (Course.addresses_differ, "REDIS_NETWORK is in all addresses"),
            (Course.starts, "all eight are healthy"),
            (Course.shares, "an instance that is registered at one is seen at all"),
            (Course.guards, "Redis wants the password"),
            (Course.registry_dies, "a registry that is killed is missed by nobody, and comes back healthy"),
            (Course.master_dies, "the master is killed: its replica takes over, writes work again, no instance is lost"),
            (Course.sentinel_restarts, "a sentinel that starts again while that one is gone knows the new master"),
            (Course.master_comes_back, "the old master comes back as replica"),
            (Course.dies_again, "the new master is killed: the old one takes over"),
            (Course.crashes, "a master whose process dies is started again, and has what it had"),
            (Course.starts_anew, "down and up again: what was registered is there"),
            (Course.stops, "nothing is left of it"))]

    def wants_password(self):
        done = self.project.engine.run("compose", "-f", "deploy/compose-redis.yaml", "up", "-d")
        if done.returncode == 0 or "set REDIS_PASSWORD" not in done.stderr:
            raise Failed(f"status {done.returncode}, {done.stderr}")

    def addresses_differ(self):
        """As Compose reads the file; the default is what is started."""
        usual = self.project.compose("config")
        other = self.project.engine.out("compose", "-f", "deploy/compose-redis.yaml", "config", **self.project.variables,
                                        REDIS_NETWORK="10.1.2")
        same("all but the network", other, usual.replace("172.29.83.", "10.1.2."))

    def starts(self):
        self.project.up()
        self.project.until_healthy()
        self.addresses = {name: self.project.address(name) for name in ("redis-1", "redis-2")}

    def shares(self):
        identifier = register(8081, "web", "10.0.0.1:80", TTL)
        self.kept = register(8082, "kept", "10.0.0.2:80", 600)
        self.client = Client(identifier)
        self.until_all_have()

    def until_all_have(self):
        until(SOON, "all have both instances", lambda: all(
            has(port, one) for port in PORTS for one in (self.client.identifier, self.kept)), 0.2)

    def exec(self, service, *command):
        return self.project.compose("exec", "-T", service, *command)

    def guards(self):
        said = self.exec("sentinel-1", "redis-cli", "-h", "redis-1", "ping")
        if "NOAUTH" not in said:
            raise Failed(said)

    def registry_dies(self):
        self.project.crash("registry-1")
        same("it is seen elsewhere", [has(port, self.kept) for port in PORTS[1:]], [True] * 2)
        until(SOON, "it runs again", lambda: has(8081, self.kept))
        self.project.until_healthy("registry-1")

    def master(self, sentinel="sentinel-1"):
        """Which one a sentinel has for the master."""
        said = self.exec(sentinel, "redis-cli", "-p", "26379", "sentinel", "get-master-addr-by-name", "main")
        return next((name for name, address in self.addresses.items() if said.split()[0] == address), said)

    def fail_over(self, old, new):
        same("the master", self.master(), old)
        begun = time.monotonic()
        self.project.kill(old)
        until(FAILOVER, "writes work again", lambda: register(8081, "after", f"10.0.1.1:{int(begun) % 60000}", 60))
        took = time.monotonic() - begun
        until(FAILOVER, "all registries write", lambda: all(renew(port, self.kept) for port in PORTS))
        for sentinel in SENTINELS:
            until(FAILOVER, f"{sentinel} knows {new}", lambda one=sentinel: self.master(one) == new)
        self.until_all_have()
        say(f"{old} was killed: writes work again after {took:.1f} s, {self.client.refused} renewals were refused so far")
        # Longer than a lease: who renews is kept by renewals that are written now.
        end = time.monotonic() + TTL + 3
        while time.monotonic() < end:
            same("the instances", [has(port, one) for port in PORTS for one in (self.client.identifier, self.kept)], [True] * 6)
            time.sleep(0.5)

    def master_dies(self):
        self.fail_over("redis-1", "redis-2")
        self.project.until_healthy(*REGISTRIES, "redis-2", *SENTINELS)

    def sentinel_restarts(self):
        self.project.compose("restart", "sentinel-2")
        self.project.until_healthy("sentinel-2")
        same("the master", self.master("sentinel-2"), "redis-2")

    def follows(self, replica):
        said = self.exec(replica, "redis-cli", "info", "replication")
        return "role:slave" in said and "master_link_status:up" in said

    def master_comes_back(self):
        self.project.up()
        self.project.until_healthy()
        until(FAILOVER + 15, "it follows", lambda: self.follows("redis-1"))
        self.until_all_have()

    def dies_again(self):
        # Sentinels do not fail over twice in twice the time that one may take.
        until(PATIENCE, "the sentinels have seen the replica", lambda: all(
            "slaves=1,sentinels=3" in self.exec(one, "redis-cli", "-p", "26379", "info", "sentinel") for one in SENTINELS))
        self.fail_over("redis-2", "redis-1")
        self.project.up()
        self.project.until_healthy()
        until(FAILOVER + 15, "it follows", lambda: self.follows("redis-2"))

    def crashes(self):
        before = self.project.state("redis-1")["StartedAt"]
        self.project.crash("redis-1")
        until(SOON, "docker starts it again", lambda: self.project.state("redis-1")["StartedAt"] != before)
        until(FAILOVER, "all registries write", lambda: all(renew(port, self.kept) for port in PORTS))
        self.until_all_have()
        self.project.until_healthy()
        self.client.stop()

    def starts_anew(self):
        self.project.compose("down")
        same("what is left", [bool(one) for one in self.project.left()], [False, False, True])
        self.project.up()
        self.project.until_healthy()
        until(SOON, "all have it", lambda: all(has(port, self.kept) for port in PORTS))
        same("the three renew it", [renew(port, self.kept) for port in PORTS], [True] * 3)

    def stops(self):
        self.project.compose("stop")
        same("how the registries ended", [self.project.state(one)["ExitCode"] for one in REGISTRIES], [0] * 3)
        self.project.compose("down", "-v")
        same("what is left", self.project.left(), ["", "", ""])
