"""A docker daemon, the images that the compose files ask for, and a project of Compose in it.

Never: speaks to another daemon; fetches an image.
"""
import http.client
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from programs import Failed, LeftOut, until

ROOT = Path(__file__).resolve().parent.parent.parent
PORTS = (8081, 8082, 8083)
PATIENCE = 120
_begun = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - _begun:4.0f}s] {text}", flush=True)


class Engine:
    def __init__(self, work):
        self.work = work
        self.process = None
        # Debian's client fits Debian's daemon; another one may stand before it in PATH.
        self.client = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("A8_", "COMPOSE_", "DOCKER_"))},
            "DOCKER_HOST": f"unix://{work}/docker.sock", "DOCKER_CONFIG": str(work / "config"), "DOCKER_BUILDKIT": "0"}

    def start(self):
        (self.work / "docker.json").write_text("{}")
        log = open(self.work / "dockerd.log", "ab")
        self.process = subprocess.Popen(
            ["dockerd", "--config-file", self.work / "docker.json", "--data-root", self.work / "data", "--exec-root",
             self.work / "exec", "--pidfile", self.work / "docker.pid", "--host", f"unix://{self.work}/docker.sock",
             # Control groups of its own, so that none is left when it is killed.
             "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{self.work.name}"],
            stdout=log, stderr=log)
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            if self.run("version").returncode == 0:
                version = self.out("version", "--format", "{{.Server.Version}}")
                say(f"docker {version}, {self.out('info', '--format', '{{.Driver}}')}")
                return
            time.sleep(0.2)
        print((self.work / "dockerd.log").read_text()[-3000:])
        raise LeftOut("for dockerd does not start here")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def run(self, *arguments, **variables):
        return subprocess.run([self.client, *arguments], cwd=ROOT, env={**self.environment, **variables},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def out(self, *arguments, **variables):
        done = self.run(*arguments, **variables)
        if done.returncode != 0:
            raise Failed(f"docker {' '.join(map(str, arguments))}: {done.stderr.strip()[-1000:]}")
        return done.stdout.strip()

    def get(self, path):
        """What the daemon itself answers; that is quicker than its client."""
        connection = http.client.HTTPConnection("docker", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        try:
            connection.sock.connect(str(self.work / "docker.sock"))
            connection.request("GET", path)
            answer = connection.getresponse()
            said = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status == 404:
            return {}
        if answer.status != 200:
            raise Failed(f"docker answers {path} with {answer.status}: {said}")
        return said

    def make_images(self, base):
        for folder, name, changes in (("base", base, []), ("redis", "redis:7.0", ["WORKDIR /data", "VOLUME /data"])):
            flags = [flag for change in changes for flag in ("--change", change)]
            tar = subprocess.Popen(["tar", "-C", self.work / folder, "-c", "."], stdout=subprocess.PIPE)
            subprocess.run([self.client, "import", *flags, "-", name], stdin=tar.stdout, env=self.environment, check=True,
                           stdout=subprocess.DEVNULL)
            tar.stdout.close()
            tar.wait()
        self.out("build", "-t", "a8-registry:latest", str(self.work / "context"))
        say(f"images {self.out('image', 'ls', '--format', '{{.Repository}}:{{.Tag}}').split()}")


class Project:
    """What one compose file starts."""

    def __init__(self, engine, file, **variables):
        self.engine = engine
        self.file = file
        self.variables = variables
        self.name = None

    def compose(self, *arguments):
        return self.engine.out("compose", "-f", f"deploy/{self.file}", *arguments, **self.variables)

    def up(self):
        self.compose("up", "-d")
        self.name = json.loads(self.compose("config", "--format", "json"))["name"]

    def end(self, show):
        """Also when it is in no good state."""
        if show:
            print(self.engine.run("compose", "-f", f"deploy/{self.file}", "ps", "-a", **self.variables).stdout)
            logs = self.engine.run("compose", "-f", f"deploy/{self.file}", "logs", "--tail", "20", **self.variables)
            print(logs.stdout[-20000:])
        self.engine.run("compose", "-f", f"deploy/{self.file}", "down", "-v", "-t", "5", **self.variables)

    def services(self):
        return sorted(self.compose("config", "--services").split())

    def look(self, service):
        """What docker says of a service's container; nothing when there is none."""
        labels = [f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}"]
        found = self.engine.get(f"/containers/json?all=1&filters={urllib.parse.quote(json.dumps({'label': labels}))}")
        return self.engine.get(f"/containers/{found[0]['Id']}/json") if found else {}

    def state(self, service):
        return self.look(service).get("State", {})

    def health(self, service):
        state = self.state(service)
        return f"{state.get('Status')} {state.get('Health', {}).get('Status')}"

    def until_healthy(self, *services, seconds=PATIENCE):
        services = services or self.services()
        begun = time.monotonic()
        try:
            until(seconds, f"{', '.join(services)} are healthy",
                  lambda: all(self.health(one) == "running healthy" for one in services), 0.2)
        except Failed as error:
            raise Failed(f"{error}: {({one: self.health(one) for one in services})}") from error
        return time.monotonic() - begun

    def address(self, service):
        return next(iter(self.look(service)["NetworkSettings"]["Networks"].values()))["IPAddress"]

    def pid(self, service):
        return self.state(service)["Pid"]

    def crash(self, service):
        """Its process ends as by a fault: docker does what the file says then."""
        os.kill(self.pid(service), 9)

    def kill(self, service):
        """It ends, and docker leaves it so, as a machine that is gone."""
        self.compose("kill", service)

    def left(self):
        """Containers, networks and volumes that are there of it."""
        label = f"label=com.docker.compose.project={self.name}"
        return [self.engine.out(*what, "-q", "--filter", label)
                for what in (("ps", "-a"), ("network", "ls"), ("volume", "ls"))]


def ask(port, method, path, body=None, seconds=10):
    """Status and what the body says."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method,
                                     data=json.dumps(body).encode() if body else None,
                                     headers={"Content-Type": "application/json"} if body else {})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            said = answer.read()
            return answer.status, json.loads(said) if said.startswith((b"{", b"[")) else said
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def register(port, service, value, ttl):
    """The id of a new instance; none when it could not be written."""
    body = {"service_name": service, "endpoint": {"type": "tcp", "value": value}, "ttl": ttl}
    try:
        status, said = ask(port, "POST", "/api/v1/instances", body)
    except OSError:
        return None
    return said["id"] if status == 201 else None


def has(port, identifier):
    """Whether a registry lists an instance."""
    try:
        status, said = ask(port, "GET", "/api/v1/instances")
    except OSError:
        return False
    return status == 200 and identifier in {one["id"] for one in said["instances"]}


def renew(port, identifier):
    try:
        return ask(port, "PUT", f"/api/v1/instances/{identifier}/heartbeat")[0] == 200
    except OSError:
        return False


def same(what, got, wanted):
    if got != wanted:
        raise Failed(f"{what}: got {got!r}, wanted {wanted!r}")
