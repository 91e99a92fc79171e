"""Builds, starts and ends the programs of the interop tests: clients, the reference server, the registry.

Never: downloads or writes outside of the cache directory and the tools' own caches; leaves a process behind.
"""
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("A8_INTEROP_CACHE")
             or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "a8registry" / "interop")
JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xss512k"]
BUILD_SECONDS = 900
# The first build of one compiles some thousand packages.
GO_TOOL_SECONDS = 3600


class Failed(Exception):
    """What was expected did not happen."""


class LeftOut(Exception):
    """Something that this machine does not have."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(seconds, what, condition, pause=0.05):
    """Waits for a condition and returns its true value; fails when the time is over."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds:g} s")
        time.sleep(pause)


# --- processes

_live = set()
_live_lock = threading.Lock()


class Process:
    """A child in a group of its own. What it prints as JSON lines is kept; the rest goes to a log file."""

    def __init__(self, name, command, directory):
        self.name = name
        self.said = []
        self.changed = threading.Condition()
        self.log = directory / f"{name}.log"
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                          start_new_session=True)
        with _live_lock:
            _live.add(self)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with open(self.log, "ab") as log:
            for line in self.child.stdout:
                try:
                    word = json.loads(line)
                except ValueError:
                    log.write(line)
                    log.flush()
                    continue
                with self.changed:
                    self.said.append((time.monotonic(), word))
                    self.changed.notify_all()

    def order(self, line):
        try:
            self.child.stdin.write(line.encode() + b"\n")
            self.child.stdin.flush()
        except OSError as error:
            raise Failed(f"{self.name} does not take orders: {error}") from error

    def wait_said(self, seconds, what, condition, start=0):
        """The first thing said from `start` on for which the condition holds."""
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                for _, word in self.said[start:]:
                    if condition(word):
                        return word
                left = end - time.monotonic()
                if left <= 0 or self.child.poll() is not None and left < seconds - 1:
                    raise Failed(f"{self.name}: {what}: not within {seconds:g} s; see {self.log}")
                self.changed.wait(min(left, 0.5))

    def mark(self):
        with self.changed:
            return len(self.said)

    def words(self, start=0):
        with self.changed:
            return self.said[start:]

    def wait_end(self, seconds):
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self.name} does not end") from error

    def stop(self, seconds=10):
        """Ends the whole group, kindly and then not."""
        for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10)):
            try:
                os.killpg(self.child.pid, number)
            except ProcessLookupError:
                pass
            try:
                self.child.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
        with _live_lock:
            _live.discard(self)


def end_all():
    with _live_lock:
        left = list(_live)
    for process in left:
        process.stop(3)


# --- building

def _reachable(url):
    try:
        urllib.request.urlopen(url, timeout=20).close()
        return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _tool(name):
    if not shutil.which(name):
        raise LeftOut(f"{name} is not installed")


def _build(name, folder, command, source, directory=None, ask_first=True):
    """Runs a build once for each content of its folder. Some tools try for minutes without a network: ask first."""
    where, url = source
    target = CACHE / name
    digest = hashlib.sha256(" ".join(map(str, command)).encode())
    for path in sorted(p for p in (HERE / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(str(path.relative_to(HERE)).encode() + path.read_bytes())
    stamp = target / "built"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return target
    if ask_first and not _reachable(url):
        raise LeftOut(f"{where} can not be reached")
    print(f"building {name}", flush=True)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    if directory:
        shutil.copytree(HERE / folder, target, dirs_exist_ok=True)
    log = CACHE / f"{name}.build.log"
    with open(log, "wb") as out:
        built = subprocess.Popen(command, cwd=directory or HERE / folder, stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=out, start_new_session=True)
        try:
            status = built.wait(BUILD_SECONDS)
        except subprocess.TimeoutExpired as error:
            _kill(built)
            raise Failed(f"{name} does not build within {BUILD_SECONDS} s, see {log}") from error
        except BaseException:
            _kill(built)
            raise
    if status != 0:
        if not _reachable(url):
            raise LeftOut(f"{where} can not be reached")
        tail = b"\n".join(log.read_bytes().splitlines()[-8:]).decode("utf-8", "replace")
        raise Failed(f"{name} does not build, see {log}\n{tail}")
    stamp.write_text(digest.hexdigest())
    return target


def _kill(child):
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def maven(name, folder, *options):
    _tool("java")
    _tool("mvn")
    return _build(name, folder, ["mvn", "-q", "-B", "package", f"-Dbuild.dir={CACHE / name}", *options],
                  ("Maven Central", "https://repo.maven.apache.org/maven2/"), ask_first=False)


def pip(name):
    return _build(name, name, [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check",
                               "--target", str(CACHE / name), "-r", "requirements.txt"],
                  ("PyPI", "https://pypi.org/simple/"))


def go_tool(name, folder, cache):
    """The program that the go.mod of a folder has as its tool, built through the Go module proxy once for each version."""
    pinned = (folder / "go.mod").read_text()
    package = re.search(r"^tool (\S+)$", pinned, re.MULTILINE)[1]
    version = next(version for module, version in re.findall(r"^(?:require|\t)\s*(\S+) (v\S+)", pinned, re.MULTILINE)
                   if package.startswith(f"{module}/"))
    program = cache / f"{name}-{version}"
    if program.exists():
        return program
    if not shutil.which("go"):
        raise LeftOut(f"go is not installed, which builds {name}")
    print(f"building {name} {version}; this takes a while", flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    log = cache / f"{name}.build.log"
    new = cache / f"{program.name}.{os.getpid()}"
    command = ["nice", "-n", "10", "go", "build", "-mod=readonly", "-buildvcs=false", "-p", "2", "-trimpath", "-ldflags", "-s -w",
               "-o", str(new), package]
    with open(log, "wb") as out:
        try:
            status = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                    timeout=GO_TOOL_SECONDS, check=False).returncode
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{name} does not build within {GO_TOOL_SECONDS} s, see {log}") from error
    if status != 0:
        said = log.read_text(errors="replace")
        if re.search(r"dial tcp|no such host|i/o timeout|proxyconnect", said):
            raise LeftOut("the Go module proxy cannot be reached")
        raise Failed(f"{name} does not build, see {log}\n{said[-2000:]}")
    new.rename(program)
    return program


def npm(name):
    _tool("node")
    _tool("npm")
    return _build(name, name, ["npm", "install", "-s", "--no-audit", "--no-fund"],
                  ("the npm registry", "https://registry.npmjs.org/"), directory=CACHE / name)


def go(name):
    _tool("go")
    return _build(name, name, ["go", "build", "-o", str(CACHE / name / "program"), "."],
                  ("the Go module proxy", "https://proxy.golang.org/"))


# --- servers

def call(port, method, path, headers=None, body=None, seconds=10):
    """One request on a connection of its own: status, headers with lower-case names, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


class Server:
    """A server of instances that can be started again empty, on the same port."""

    restarts = True

    def __init__(self, name, directory):
        self.name = name
        self.directory = directory
        self.port = free_port()
        self.process = None

    def start(self):
        self.process = Process(self.name, self.command(), self.directory)
        until(90, f"{self.name} answers", self._answers, 0.1)
        return self

    def _answers(self):
        if self.process.child.poll() is not None:
            raise Failed(f"{self.name} ended by itself, see {self.process.log}")
        try:
            status = call(self.port, "GET", "/eureka/apps", {"Accept": "application/json"})[0]
        except OSError:
            return False
        if status == 404:
            raise Failed(f"{self.name} has no Eureka API")
        return status == 200

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None

    def restart(self):
        self.stop()
        self.start()

    def apps(self):
        """What the server itself lists: id -> (application, status)."""
        _, _, body = call(self.port, "GET", "/eureka/apps", {"Accept": "application/json"})
        listed = json.loads(body)["applications"]["application"]
        return {one.get("instanceId", one["hostName"]): (one["app"], one["status"])
                for app in listed for one in app["instance"]}


class Registry(Server):
    """a8registry."""

    amalgam8 = True

    def __init__(self, binary, directory, *options, name="a8registry"):
        super().__init__(name, directory)
        self.binary = binary
        self.options = options

    def command(self):
        return [self.binary, "--log_level", "error", "--api_address", "127.0.0.1", "--api_port", str(self.port),
                "--min_ttl", "1s", *self.options]

    def instances(self, query="?status=ALL"):
        """What an Amalgam8 reader sees: (service, endpoint value) -> status. Without a query, what it may use."""
        status, _, body = call(self.port, "GET", f"/api/v1/instances{query}")
        if status != 200:
            raise Failed(f"GET /api/v1/instances: {status}")
        return {(one["service_name"], one["endpoint"]["value"]): one["status"]
                for one in json.loads(body)["instances"]}


class Reference(Server):
    """A stock Spring Cloud Eureka server."""

    amalgam8 = False

    def __init__(self, directory, *options, name="eureka-server"):
        super().__init__(name, directory)
        self.jar = maven("eureka-server", "eureka-server") / "program.jar"
        # Alone it must be its own peer: the default is whatever listens on port 8761.
        self.options = options or ("--eureka.client.register-with-eureka=false", "--eureka.client.fetch-registry=false",
                                   "--eureka.instance.hostname=127.0.0.1",
                                   f"--eureka.client.service-url.defaultZone=http://127.0.0.1:{self.port}/eureka/")

    def command(self):
        return [*JAVA, "-Xmx160m", "-jar", str(self.jar),
                f"--server.port={self.port}", "--server.address=127.0.0.1", "--spring.main.banner-mode=off",
                "--eureka.server.enable-self-preservation=false", "--eureka.server.eviction-interval-timer-in-ms=500",
                "--eureka.server.use-read-only-response-cache=false", *self.options]


class Elsewhere(Server):
    """A server that somebody else runs."""

    restarts = False
    amalgam8 = False

    def __init__(self, port, directory):
        super().__init__("elsewhere", directory)
        self.port = port

    def start(self):
        return self

    def stop(self):
        pass
