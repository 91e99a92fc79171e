#!/usr/bin/env python3
"""The compose files of deploy/, started by Docker Compose and used while containers die.

    tests/deploy/run.py BINARY [cluster|redis]

The docker daemon is this test's own. It, its containers and who asks them run in namespaces of their own (network, processes,
mounts), so nothing of this machine is touched, no port is taken, and all of it ends with the test. The images are made of
BINARY by the Dockerfile's second stage, and of Debian's packages, unpacked; Compose is built from its sources, once.
Never: needs more than root on Debian, Go and a network when it runs first; leaves a process, a mount or a folder behind.
"""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "interop"))

from engine import Engine, say  # noqa: E402
from programs import Failed, LeftOut, go_tool  # noqa: E402
from report import SIGNALS, Report  # noqa: E402
import replicating  # noqa: E402
import sharing  # noqa: E402

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "a8registry" / "deploy"
# Program and package that it comes from.
WANTED = {"dockerd": "docker.io", "ip": "iproute2", "iptables": "iptables", "unshare": "util-linux"}
COURSES = {"cluster": replicating.Course, "redis": sharing.Course}
SHELL = ["dash", "coreutils", "grep"]


def quiet(*command, **more):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, **more).returncode == 0


def install():
    if os.geteuid() != 0 or not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise LeftOut("which need root on Debian")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    quiet("apt-get", "update", "-qq")
    missing = [package for program, package in WANTED.items() if not shutil.which(program)]
    if missing:
        say(f"installing {' '.join(missing)}")
        quiet("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing,
              env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    missing = [program for program in WANTED if not shutil.which(program)]
    if missing:
        raise LeftOut(f"for there is no {', '.join(missing)}")


def unpack(folder, *packages):
    """Debian's packages with all that they depend on, without what they do when they are installed."""
    archives = folder.parent / "archives" / folder.name
    (archives / "partial").mkdir(parents=True)
    # With nothing installed, all is fetched.
    fetched = quiet("apt-get", "install", "-qq", "-y", "--download-only", "--no-install-recommends",
                    "-o", "Dir::State::status=/dev/null", "-o", f"Dir::Cache::archives={archives}", "-o", "Debug::NoLocking=1",
                    "-o", "APT::Sandbox::User=root", *packages)
    if not fetched:
        raise LeftOut(f"for {', '.join(packages)} cannot be had through apt-get")
    folder.mkdir()
    for package in sorted(archives.glob("*.deb")):
        # What these are there for is done at an installation.
        if not package.name.startswith(("perl", "libperl", "usrmerge")):
            subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    shutil.rmtree(archives)


def prepare(binary, work):
    """All for which a network is needed: programs, and the files of the images."""
    install()
    compose = go_tool("docker-compose", HERE / "compose", CACHE)
    plugins = work / "config" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-compose").symlink_to(compose)
    say("unpacking the packages of the images")
    unpack(work / "base", "libc6", "libgcc-s1")
    unpack(work / "redis", "redis-server", "redis-sentinel", *SHELL)
    # As the published image has it.
    (work / "redis" / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nredis:x:999:999::/data:/bin/sh\n")
    (work / "redis" / "etc" / "group").write_text("root:x:0:\nredis:x:999:\n")
    (work / "redis" / "data").mkdir()
    os.chown(work / "redis" / "data", 999, 999)
    for system in ("base", "redis"):
        (work / system / "tmp").mkdir(exist_ok=True)
        (work / system / "tmp").chmod(0o1777)
    context = work / "context"
    for target, source in {"build/release/a8registry": binary, "etc/ssl/certs/ca-certificates.crt": None}.items():
        (context / target).parent.mkdir(parents=True)
        shutil.copy(source, context / target) if source else (context / target).touch()
    # The second stage as it is, but that the files come from the context.
    first, second = (ROOT / "Dockerfile").read_text().split("\nFROM ${BASE}\n")
    base = next(line for line in first.splitlines() if line.startswith("ARG BASE="))
    (context / "Dockerfile").write_text(f"{base}\nFROM ${{BASE}}\n{second.replace('--from=build /', '')}")
    return base.removeprefix("ARG BASE=")


def play(work, base, only):
    """In namespaces of its own."""
    report = Report()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    engine = Engine(work)
    try:
        try:
            engine.start()
            engine.make_images(base)
            for name, course in COURSES.items():
                if only and name not in only:
                    continue
                running = course(engine, work)
                try:
                    report.steps(name, running.steps())
                finally:
                    running.project.end(report.failed)
        finally:
            engine.stop()
    except LeftOut as reason:
        report.left_out.append(f"the tests of the compose files, {reason}")
    except (Failed, subprocess.CalledProcessError) as error:
        report.failed += 1
        print(f"  FAILED   {error}", flush=True)
    return finish(report)


def finish(report):
    for line in report.left_out:
        print(f"left out: {line}")
    print(f"deploy: {report.passed} passed, {report.failed} failed", flush=True)
    return 1 if report.failed else 0


def conduct(binary, work, only):
    """Prepares, and runs the rest apart; what is apart ends with the first process in there."""
    base = prepare(binary, work)
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    tried = subprocess.run([*apart, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise LeftOut(f"for there are no namespaces of its own: {tried.stderr.strip()}")
    child = subprocess.Popen([*apart, sys.executable, __file__, "--apart", work, base, *only], start_new_session=True)
    try:
        return child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def remove(work):
    """The folder and the control groups. What was killed may live for a moment yet."""
    end, groups = time.monotonic() + 20, control_groups(work)
    while (work.exists() or groups) and time.monotonic() < end:
        shutil.rmtree(work, ignore_errors=True)
        for group in groups:
            with contextlib.suppress(OSError):
                group.rmdir()
        time.sleep(0.1)
        groups = control_groups(work)
    if work.exists() or groups:
        print(f"not removed: {work if work.exists() else ''} {' '.join(map(str, groups))}")


def control_groups(work):
    """Those of the daemon's containers, the innermost first."""
    tops = [top for top in Path("/sys/fs/cgroup").glob(f"**/{work.name}") if top.is_dir()]
    return sorted((Path(folder) for top in tops for folder, _, _ in os.walk(top)), reverse=True)


def main():
    if sys.argv[1:2] == ["--apart"]:
        return play(Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
    binary, only = Path(sys.argv[1] if sys.argv[1:] else "bin/a8registry").resolve(), sys.argv[2:]
    if set(only) - set(COURSES):
        sys.exit(f"no course {' '.join(only)}; want {' or '.join(COURSES)}")
    if not os.access(binary, os.X_OK):
        sys.exit(f"no registry at {binary}; build it first, or name it")
    for number in SIGNALS:
        signal.signal(number, lambda *_: sys.exit(130))
    work = Path(tempfile.mkdtemp(prefix="a8-deploy."))
    report = Report()
    try:
        return conduct(binary, work, only)
    except LeftOut as reason:
        report.left_out.append(f"the tests of the compose files, {reason}")
    except Failed as error:
        report.failed += 1
        print(f"  FAILED   {error}")
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        remove(work)
    return finish(report)


if __name__ == "__main__":
    sys.exit(main())
