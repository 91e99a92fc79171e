"""A Kubernetes cluster of an API server and etcd: built, started, asked and ended.

There is no scheduler, no kubelet and no controller: the tests say what these would.
Never: installs or starts a service of the system; writes outside of its cache and the folder that it is given.
"""
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

from programs import Failed, LeftOut, Process, free_port, go_tool, until  # noqa: E402

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "a8registry" / "kubernetes"
MODULE = HERE / "apiserver"
ADMIN = "admin-of-the-tests"
KINDS = {"Namespace": "/api/v1/namespaces", "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
         "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
         "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
         "Service": "/api/v1/namespaces/{}/services", "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
         "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets"}


def api_server():
    return go_tool("kube-apiserver", MODULE, CACHE)


def etcd():
    """The program: the system's, or out of Debian's package, which is unpacked and not installed."""
    if found := shutil.which("etcd"):
        return Path(found)
    program = CACHE / "etcd-server" / "usr" / "bin" / "etcd"
    if program.exists():
        return program
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise LeftOut("there is no etcd, and no apt-get to have it from")
    print("fetching etcd-server", flush=True)
    packages = CACHE / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
    # The lists of packages may be missing or old; without the rights to renew them the old ones have to do.
    subprocess.run(["apt-get", "update", "-qq"], **quiet)
    subprocess.run(["apt-get", "download", "-qq", "etcd-server"], cwd=packages, **quiet)
    fetched = sorted(packages.glob("etcd-server_*.deb"))
    if not fetched:
        raise LeftOut("etcd-server cannot be had through apt-get")
    subprocess.run(["dpkg", "-x", str(fetched[-1]), str(CACHE / "etcd-server")], **quiet)
    if not program.exists():
        raise LeftOut(f"{fetched[-1].name} has no etcd")
    return program


class Cluster:
    """Started on loopback; the API server can be ended and started again."""

    def __init__(self, directory):
        self.directory = directory
        self.programs = etcd(), api_server()
        if not shutil.which("openssl"):
            raise LeftOut("openssl is not installed, which makes the key of service accounts")
        self.port, self.etcd_port, self.peer_port = free_port(), free_port(), free_port()
        self.server = self.etcd = None
        self.key = directory / "service-accounts.key"
        self.tokens = directory / "tokens.csv"
        self.certificates = directory / "certificates"
        subprocess.run(["openssl", "genrsa", "-out", str(self.key), "2048"], check=True, capture_output=True)
        self.tokens.write_text(f'{ADMIN},admin,admin,"system:masters"\n')
        os.chmod(self.tokens, 0o600)

    @property
    def ca(self):
        """The certificate that the API server made for itself, with that of who signed it."""
        return self.certificates / "apiserver.crt"

    def start(self):
        at = f"http://127.0.0.1:{self.etcd_port}"
        peers = f"http://127.0.0.1:{self.peer_port}"
        self.etcd = Process("etcd", [
            str(self.programs[0]), "--data-dir", str(self.directory / "etcd"), "--listen-client-urls", at,
            "--advertise-client-urls", at, "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
            "--initial-cluster", f"default={peers}"], self.directory)
        self.start_server()

    def start_server(self):
        self.server = Process("kube-apiserver", [
            str(self.programs[1]), "--etcd-servers", f"http://127.0.0.1:{self.etcd_port}",
            "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", str(self.port),
            "--cert-dir", str(self.certificates), "--token-auth-file", str(self.tokens),
            "--authorization-mode", "RBAC", "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-key-file", str(self.key), "--service-account-signing-key-file", str(self.key),
            "--service-cluster-ip-range", "10.96.0.0/16", "--disable-admission-plugins", "ServiceAccount",
            # Else it would show itself in the namespace "default".
            "--endpoint-reconciler-type", "none", "--shutdown-delay-duration", "0s"], self.directory)
        until(180, "the API server is ready", self._is_ready, 0.2)

    def _is_ready(self):
        if self.server.child.poll() is not None:
            raise Failed(f"kube-apiserver ended by itself, see {self.server.log}")
        try:
            return self.call("GET", "/readyz", raw=True) == b"ok"
        except (OSError, Failed):
            return False

    def stop_server(self):
        # It would wait a minute for watches to end.
        self.server.stop(5)

    def restart_server(self):
        self.stop_server()
        self.start_server()

    def call(self, method, path, body=None, kind="application/json", raw=False, absent=None):
        """One request as its administrator. `absent` is the result of a 404 when it is given."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", data=data, method=method, headers={
            "Authorization": f"Bearer {ADMIN}", "Content-Type": kind, "Accept": "application/json"})
        # Its certificate is there once it has started.
        context = ssl.create_default_context(cafile=str(self.ca)) if self.ca.exists() else ssl.create_default_context()
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                said = answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404 and absent is not None:
                return absent
            raise Failed(f"{method} {path}: {error.code} {error.read()[:500]!r}") from error
        return said if raw else json.loads(said)

    def status(self, method, path, bearer):
        """How one request with a token is answered."""
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", method=method,
                                         headers={"Authorization": f"Bearer {bearer}"})
        try:
            context = ssl.create_default_context(cafile=str(self.ca))
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def apply(self, manifest):
        """Creates what a file has, document by document, and answers what the API server made of it."""
        return [self.create(document) for document in manifest.read_text().split("\n---\n")]

    def create(self, document):
        """Creates an object that is written in YAML. A field that is unknown or there twice is refused."""
        kind = re.search(r"^kind: (\w+)$", document, re.MULTILINE)[1]
        namespace = re.search(r"^  namespace: (\S+)$", document, re.MULTILINE)
        path = KINDS[kind].format(namespace[1] if namespace else "default")
        return self.call("POST", f"{path}?fieldValidation=Strict", document.encode(), "application/yaml")

    def put(self, resource, thing):
        """Creates an object, or puts it in the place of one."""
        path = f"{resource}/{thing['metadata']['name']}"
        there = self.call("GET", path, absent={})
        if not there:
            return self.call("POST", resource, thing)
        thing["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
        return self.call("PUT", path, thing)

    def delete(self, resource, name):
        self.call("DELETE", f"{resource}/{name}", {"gracePeriodSeconds": 0})

    def forget_history(self):
        """Compacts etcd up to now, as Kubernetes does every five minutes."""
        def ask(path, body):
            request = urllib.request.Request(f"http://127.0.0.1:{self.etcd_port}{path}", data=json.dumps(body).encode())
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())
        revision = ask("/v3/kv/range", {"key": "AA=="})["header"]["revision"]
        ask("/v3/kv/compaction", {"revision": revision, "physical": True})

    def token(self, namespace, account):
        """A token of a service account, as a pod would have it."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        return self.call("POST", path, body)["status"]["token"]
