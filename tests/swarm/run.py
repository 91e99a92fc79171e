"""The catalog of a Docker Swarm against a real engine: a docker daemon of this test's own, as a swarm of one node.

    tests/swarm/run.py BINARY

The daemon, its containers, the registries and the suite that all catalogs play run in namespaces of their own (network,
processes, mounts), with a loopback interface only, so nothing of this machine's network is touched and all of it ends with
the test.
The image holds one static program. Installs docker.io when there is none. Needs root, Linux, a C compiler and Cargo; it
says plainly what it left out.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

import suite  # noqa: E402
from programs import Failed, LeftOut  # noqa: E402

PATIENCE = 90.0
started = time.monotonic()
passed = failed = 0


def say(text):
    print(f"[{time.monotonic() - started:5.0f}s] {text}", flush=True)


def leave_out(why):
    print(f"left out: the tests with a real swarm, {why}")
    print("swarm: 0 passed, 0 failed")
    sys.exit(0)


def check(claim, holds, detail=""):
    global passed, failed
    if holds:
        passed += 1
        say(f"ok      {claim}")
    else:
        failed += 1
        say(f"FAILED  {claim} {detail}")


def until(claim, look, patience=PATIENCE):
    """Looks until `look` answers something true, and counts whether it did, with the time that took."""
    begun, last = time.monotonic(), None
    while time.monotonic() - begun < patience:
        try:
            last = look()
        except (OSError, urllib.error.URLError, KeyError, ValueError) as error:
            last = None if not isinstance(error, urllib.error.HTTPError) else last
        if last:
            check(f"{claim} ({time.monotonic() - begun:.1f} s)", True)
            return last
        time.sleep(0.05)
    check(claim, False)
    return None


class Docker:
    """A daemon, and what its command line does."""

    def __init__(self, work):
        self.work = work
        self.socket = work / "docker.sock"
        self.process = None
        self.more = []

    def start(self):
        (self.work / "docker.json").write_text("{}")
        log = open(self.work / "dockerd.log", "ab")
        self.process = subprocess.Popen(
            ["dockerd", "--config-file", self.work / "docker.json", "--data-root", self.work / "data",
             "--exec-root", self.work / "exec", "--pidfile", self.work / "docker.pid",
             "--host", f"unix://{self.socket}", *self.more],
            stdout=log, stderr=log)
        begun = time.monotonic()
        while time.monotonic() - begun < 60 and self.process.poll() is None:
            if self.run("version", checked=False).returncode == 0:
                return True
            time.sleep(0.2)
        return False

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def run(self, *arguments, checked=True):
        # Debian's client fits Debian's daemon; another one may stand before it in PATH.
        client = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
        done = subprocess.run([client, "-H", f"unix://{self.socket}", *arguments], capture_output=True, text=True)
        if checked and done.returncode != 0:
            raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
        return done

    def out(self, *arguments):
        return self.run(*arguments).stdout.strip()

    def create(self, name, *arguments, image="task:1", port=8080):
        self.run("service", "create", "--detach", "--no-resolve-image", "--restart-delay", "1s", "--name", name,
                 *arguments, image, "/task", str(port))

    def containers(self, service):
        return self.out("ps", "-q", "--no-trunc", "--filter", f"label=com.docker.swarm.service.name={service}").split()

    def addresses(self, service, network):
        template = "{{(index .NetworkSettings.Networks \"" + network + "\").IPAddress}}"
        return sorted(self.out("inspect", "--format", template, it) for it in self.containers(service))


class Registry:
    """A registry that follows the swarm."""

    def __init__(self, binary, work, name, *flags):
        self.log = work / f"{name}.log"
        self.process = subprocess.Popen(
            [binary, "--api_address", "127.0.0.1", "--api_port", "0", "--log_level", "info", *flags],
            stdout=subprocess.DEVNULL, stderr=open(self.log, "wb"))
        begun, served = time.monotonic(), None
        while not served and time.monotonic() - begun < 30:
            served = re.search(r"the registry is served on (127[0-9.]+:\d+)", self.log.read_text())
            time.sleep(0.05)
        if not served:
            raise RuntimeError(f"the registry does not start: {self.log.read_text()}")
        self.base = f"http://{served.group(1)}"

    def get(self, path):
        with urllib.request.urlopen(self.base + path, timeout=10) as answer:
            return json.load(answer)

    def instances(self, service):
        listed = self.get("/api/v1/instances?status=ALL")["instances"]
        return [it for it in listed if it["service_name"] == service]

    def values(self, service):
        return sorted(it["endpoint"]["value"] for it in self.instances(service))

    def state(self):
        return self.get("/health/ready")["components"]["CATALOG_SWARM"]["properties"]

    def error(self):
        return self.state().get("last_error", "")

    def stop(self):
        self.process.terminate()
        return self.process.wait(30)


def make_image(docker, work):
    binary = work / "task"
    subprocess.run(["cc", "-static", "-Os", "-o", binary, HERE / "task.c"], check=True)
    for tag, changes in [
        ("task:1", []),
        ("task:slow", ['HEALTHCHECK --interval=1s --timeout=2s --start-period=30s CMD ["/task", "ready"]']),
    ]:
        tar = subprocess.run(["tar", "-C", work, "-c", "task"], check=True, capture_output=True).stdout
        flags = [flag for change in changes for flag in ("--change", change)]
        client = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
        subprocess.run([client, "-H", f"unix://{docker.socket}", "import", *flags, "-", tag],
                       input=tar, check=True, stdout=subprocess.DEVNULL)


def make_certificates(work):
    """An authority, a server's and a client's certificate, and an authority that signed neither."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=work, check=True, capture_output=True)
    for authority in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={authority}", "-keyout", f"{authority}-key.pem", "-out", f"{authority}.pem")
    for name, usage in [("server", "serverAuth"), ("client", "clientAuth")]:
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}-key.pem", "-out", f"{name}.csr")
        (work / f"{name}.ext").write_text(
            f"subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage={usage}\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
                "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")


def speaks(value):
    """Whether somebody says hello at an address."""
    host, port = value.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=5) as stream:
        return stream.recv(16) == b"hello\n"


def play(binary, work):
    docker = Docker(work)
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        make_certificates(work)
        docker.more = ["--host", "tcp://127.0.0.1:2376", "--tlsverify", "--tlscacert", work / "ca.pem",
                       "--tlscert", work / "server.pem", "--tlskey", work / "server-key.pem"]
        if not docker.start():
            print((work / "dockerd.log").read_text()[-3000:])
            leave_out("dockerd does not start here")
        say(f"docker {docker.out('version', '--format', '{{.Server.Version}}')}, API "
            f"{docker.out('version', '--format', '{{.Server.APIVersion}}')}")
        make_image(docker, work)
        scenario(docker, binary, work)
    finally:
        docker.stop()


def scenario(docker, binary, work):
    url = f"--swarm_url=unix://{docker.socket}"
    published = Registry(binary, work, "published", url)
    until("an engine without a swarm is said to be none",
          lambda: published.error() == "the engine is not in a swarm, or no manager of it")
    docker.run("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
    until("a swarm that is made is followed", lambda: published.state()["state"] == "current")
    check("an empty one has nothing", published.get("/api/v1/services")["services"] == [])

    begun = time.monotonic()
    try:
        suite.play("catalog_swarm", work, A8_TEST_SWARM=str(docker.socket))
        check(f"the suite that all catalogs play ({time.monotonic() - begun:.1f} s)", True)
    except Failed as error:
        check("the suite that all catalogs play", False, error)
    until("it leaves nothing", lambda: published.get("/api/v1/services")["services"] == [])

    network = "app"
    made = docker.run("network", "create", "--driver", "overlay", network, checked=False)
    if made.returncode != 0:
        network = ""
        say(f"left out: addresses on a network, for there can be none: {made.stderr.strip()}")
    docker.create("pub", "--publish", "mode=host,published=18080,target=8080", "--label", "a8.endpoint.type=http")
    docker.create("mesh", "--publish", "published=18081,target=8080", "--replicas", "2")
    value = until("a port published on the task's node is shown", lambda: published.values("pub"))
    check("it is the node's address", value == ["127.0.0.1:18080"], value)
    until("somebody answers there", lambda: speaks("127.0.0.1:18080"))
    check("its label says its type", published.instances("pub")[0]["endpoint"]["type"] == "http")
    until("a port published on all nodes is shown", lambda: published.values("mesh") == ["127.0.0.1:18081"])

    if network:
        with_network(docker, binary, work, url, network)

    docker.create("slow", "--publish", "mode=host,published=18082,target=8080", image="task:slow")
    until("a task that is not healthy yet is STARTING",
          lambda: [it["status"] for it in published.instances("slow")] == ["STARTING"])
    until("it is UP when it is", lambda: [it["status"] for it in published.instances("slow")] == ["UP"])
    docker.run("service", "rm", "slow")
    until("a service that is removed is gone", lambda: not published.values("slow"))
    docker.run("service", "update", "--detach", "--publish-rm", "target=8080", "--publish-add",
               "mode=host,published=18083,target=8080", "pub")
    until("a port that is moved is shown there", lambda: published.values("pub") == ["127.0.0.1:18083"])

    node = docker.out("node", "ls", "-q")
    docker.run("node", "update", "--availability", "drain", node)
    until("a node that is drained has no tasks", lambda: not published.values("pub") and not published.values("mesh"))
    docker.run("node", "update", "--availability", "active", node)
    until("they come back with it", lambda: published.values("pub") and published.values("mesh"))

    with_tls(binary, work)

    before = published.values("pub")
    docker.stop()
    until("an engine that ended is said", lambda: published.error().startswith("the engine cannot be connected to"))
    check("what it had stays", published.values("pub") == before and before != [])
    check("the registry stays ready", "components" in published.get("/health/ready"))
    if not docker.start():
        check("dockerd starts again", False)
    until("it is followed again", lambda: published.state()["state"] == "current")
    until("its tasks are shown again", lambda: published.values("pub") and speaks(published.values("pub")[0]))
    docker.run("service", "scale", "--detach", "pub=0")
    until("and their changes", lambda: not published.values("pub"))

    docker.run("swarm", "leave", "--force")
    until("a manager that left its swarm is said to be none",
          lambda: published.error() == "the engine is not in a swarm, or no manager of it")
    check("what it had stays", published.values("mesh") == ["127.0.0.1:18081"])
    check("the registry ends well", published.stop() == 0)
    check("nothing was wrong in its eyes but the engine", "cannot be read" not in published.log.read_text())


def with_network(docker, binary, work, url, network):
    registry = Registry(binary, work, "network", url, f"--swarm_network={network}")
    docker.create("web", "--network", network, "--endpoint-mode", "dnsrr", "--replicas", "2", "--label", "team=blue",
                  "--label", "a8.endpoint.port=8080", "--label", "a8.endpoint.type=http")

    def as_inspected(number):
        addresses = docker.addresses("web", network)
        return len(addresses) == number and registry.values("web") == sorted(f"{it}:8080" for it in addresses)
    until("tasks are shown by their addresses on the network", lambda: as_inspected(2))
    first = (registry.instances("web") or [{}])[0]
    check("labels are tags", first.get("tags") == ["team=blue"], first)
    check("labels and names are metadata", first.get("metadata", {}).get("team") == "blue"
          and first["metadata"]["swarm.task"].startswith("web."), first)
    until("what is not on the network is shown by its ports", lambda: registry.values("pub") == ["127.0.0.1:18080"])
    docker.run("service", "scale", "--detach", "web=4")
    until("new replicas are shown", lambda: as_inspected(4))
    docker.run("service", "scale", "--detach", "web=1")
    until("replicas that ended are gone", lambda: as_inspected(1))
    docker.run("service", "update", "--detach", "--label-rm", "team", "--label-add", "stage=x", "web")
    until("labels that change are shown",
          lambda: [it["tags"] for it in registry.instances("web")] == [["stage=x"]] and as_inspected(1))
    old = registry.instances("web")[0]["metadata"]["swarm.task"]
    docker.run("kill", docker.containers("web")[0])
    until("a task that died is replaced", lambda: as_inspected(1)
          and registry.instances("web")[0]["metadata"]["swarm.task"] != old)
    docker.run("service", "rm", "web")
    until("its service is gone when it is removed", lambda: not registry.values("web"))
    check("a registry with a network ends well", registry.stop() == 0)


def with_tls(binary, work):
    def flags(authority):
        return ["--swarm_url=tcp://127.0.0.1:2376", f"--swarm_ca_file={work}/{authority}.pem",
                f"--swarm_cert={work}/client.pem", f"--swarm_key={work}/client-key.pem"]
    good = Registry(binary, work, "tls", *flags("ca"))
    until("an engine is followed by TLS", lambda: good.values("mesh") == ["127.0.0.1:18081"])
    check("that registry ends well", good.stop() == 0)
    wrong = Registry(binary, work, "tls-wrong", *flags("other"))
    until("one that another authority signed for is not", lambda: "certificate" in wrong.error())
    check("nothing of it is shown", wrong.get("/api/v1/services")["services"] == [])
    wrong.stop()
    plain = Registry(binary, work, "tls-plain", "--swarm_url=tcp://127.0.0.1:2376")
    until("without TLS it is refused", lambda: plain.error() == "the engine answers with status 400")
    plain.stop()


def prepare():
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        leave_out("which need root on Linux")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    wanted = {"dockerd": "docker.io", "ip": "iproute2", "iptables": "iptables", "cc": "gcc libc6-dev",
              "openssl": "openssl", "unshare": "util-linux"}
    missing = [package for program, package in wanted.items() if not shutil.which(program)]
    if missing and shutil.which("apt-get"):
        say(f"installing {' '.join(missing)}")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["apt-get", "update", "-qq"], **quiet, check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *" ".join(missing).split()],
                       env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, **quiet, check=False)
    missing = [program for program in wanted if not shutil.which(program)]
    if missing:
        leave_out(f"for there is no {', '.join(missing)}")
    try:
        # In there is no network.
        suite.prepare()
    except LeftOut as reason:
        leave_out(f"for {reason}")
    except Failed as error:
        sys.exit(f"FAILED  {error}")


def main():
    if len(sys.argv) == 2:
        prepare()
        binary = str(Path(sys.argv[1]).resolve())
        # Ends all that is in there with itself.
        apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        tried = subprocess.run([*apart, "true"], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            leave_out(f"for there are no namespaces of its own: {tried.stderr.strip()}")
        with tempfile.TemporaryDirectory(prefix="a8-swarm.") as work:
            done = subprocess.run([*apart, sys.executable, __file__, binary, work], check=False)
        sys.exit(done.returncode)
    binary, work = sys.argv[1], Path(sys.argv[2])
    try:
        play(binary, work)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        check("the test goes through", False, error)
    if failed:
        for log in sorted(work.glob("*.log")):
            print(f"the last lines of {log.name}:")
            print("\n".join(log.read_text(errors="replace").splitlines()[-15:]))
    print(f"swarm: {passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
