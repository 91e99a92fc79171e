"""Three registries that replicate, as compose-cluster.yaml starts them.

Never: starts anything but by Compose.
"""
import secrets
from functools import partial

from engine import PORTS, Project, ask, has, register, renew, same
from programs import Failed, until

# A member that is ready has what the others have; one that is connected tells within a quarter of a second.
SOON = 10
REGISTRIES = ("registry-1", "registry-2", "registry-3")


class Course:
    def __init__(self, engine, _work):
        self.project = Project(engine, "compose-cluster.yaml", CLUSTER_SECRET=secrets.token_hex(32))
        self.identifier = None

    def steps(self):
        return [(text, partial(step, self)) for step, text in (
            (Course.wants_secret, "without a secret nothing starts, and it is said why"),
            (Course.starts, "three registries are healthy and connected"),
            (Course.confined, "no root, no rights, nothing can be written"),
            (Course.replicates, "an instance that is registered at one is seen at all, and renewed at any"),
            (Course.survives, "one that is killed is missed by nobody; it comes back healthy and has the instance"),
            (Course.rolls, "one after the other is restarted; each time all have the instance"),
            (Course.made_anew, "a container that is made anew has the instance when it is healthy"),
            (Course.stops, "told to stop they end well, and nothing is left"))]

    def wants_secret(self):
        done = self.project.engine.run("compose", "-f", "deploy/compose-cluster.yaml", "up", "-d")
        if done.returncode == 0 or "set CLUSTER_SECRET" not in done.stderr:
            raise Failed(f"status {done.returncode}, {done.stderr}")

    def starts(self):
        self.project.up()
        self.project.until_healthy()
        self.until_connected()

    def until_connected(self):
        def all_are():
            return all(ask(port, "GET", "/uptime")[0] == 200 and b"a8_cluster_size 3" in ask(port, "GET", "/metrics")[1]
                       for port in PORTS)
        until(SOON, "all see three members", all_are)

    def confined(self):
        for service in REGISTRIES:
            with open(f"/proc/{self.project.pid(service)}/status", encoding="ascii") as status:
                fields = dict(line.rstrip().split(":\t", 1) for line in status)
            same("users", set(fields["Uid"].split()), {"65532"})
            same("capabilities", {fields[name].strip() for name in ("CapEff", "CapPrm", "CapBnd")}, {"0" * 16})
            same("the file system is read only", self.project.look(service)["HostConfig"]["ReadonlyRootfs"], True)

    def until_all_have(self):
        until(SOON, "all have the instance", lambda: all(has(port, self.identifier) for port in PORTS))

    def replicates(self):
        self.identifier = register(8081, "web", "10.0.0.1:80", 300)
        self.until_all_have()
        same("renewals", [renew(port, self.identifier) for port in PORTS], [True] * 3)

    def survives(self):
        before = self.project.state("registry-1")["StartedAt"]
        self.project.crash("registry-1")
        for port in (8082, 8083):
            same(f"the instance is at {port}", has(port, self.identifier), True)
        other = register(8082, "web", "10.0.0.2:80", 300)
        until(SOON, "docker starts it again", lambda: self.project.state("registry-1")["StartedAt"] != before)
        self.project.until_healthy("registry-1")
        same("it has both", [has(8081, self.identifier), has(8081, other)], [True] * 2)
        self.until_connected()

    def rolls(self):
        for service, port in zip(REGISTRIES, PORTS):
            self.project.compose("restart", service)
            self.project.until_healthy(service)
            same(f"{service} has it", has(port, self.identifier), True)
            same("it is renewed there", renew(port, self.identifier), True)
        self.until_all_have()
        self.until_connected()

    def made_anew(self):
        self.project.compose("up", "-d", "--force-recreate", "--no-deps", "registry-2")
        self.project.until_healthy("registry-2")
        same("it has it", has(8082, self.identifier), True)
        self.until_connected()

    def stops(self):
        self.project.compose("stop")
        same("how they ended", [self.project.state(one)["ExitCode"] for one in REGISTRIES], [0] * 3)
        self.project.compose("down")
        same("what is left", self.project.left(), ["", "", ""])
