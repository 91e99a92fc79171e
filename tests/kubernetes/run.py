#!/usr/bin/env python3
"""The catalog of Kubernetes against a real API server: pods, services and slices come, change and go; and what deploy/ has for it.

Never: needs more than Python's own library and Cargo to run; leaves a process behind.
"""
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

sys.dont_write_bytecode = True

from cluster import ADMIN, HERE, Cluster  # noqa: E402
import manifests  # noqa: E402
import suite  # noqa: E402
from programs import Failed, Process, call, free_port, until  # noqa: E402
from report import conduct  # noqa: E402

SECONDS = 60
SPACE = "shop"
OPS = "operator-of-the-tests"
PODS = f"/api/v1/namespaces/{SPACE}/pods"
SERVICES = f"/api/v1/namespaces/{SPACE}/services"
ENDPOINTS = f"/api/v1/namespaces/{SPACE}/endpoints"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{SPACE}/endpointslices"
ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles"


class Registry:
    """a8registry, whose clients say their namespace by a token."""

    def __init__(self, binary, directory, name, *options, variables=()):
        self.port = free_port()
        self.process = Process(name, ["env", *variables, binary, "--log_level", "info", "--api_address", "127.0.0.1", "--api_port",
                                      str(self.port), "--auth_mode", "trusted", "--ops_token", OPS, *options], directory)
        until(SECONDS, f"{name} answers", self._answers)

    def _answers(self):
        try:
            return call(self.port, "GET", "/health/live")[0] == 200
        except OSError:
            return False

    def instances(self, namespace=SPACE):
        """What is shown: id -> instance."""
        status, _, body = call(self.port, "GET", "/api/v1/instances?status=ALL", {"Authorization": f"Bearer {namespace}"})
        if status != 200:
            raise Failed(f"GET /api/v1/instances: {status}")
        return {one["id"]: one for one in json.loads(body)["instances"]}

    def shown(self, namespace=SPACE):
        """(service, address) -> status"""
        return {(one["service_name"], one["endpoint"]["value"]): one["status"] for one in self.instances(namespace).values()}

    def error(self):
        """Why the catalog cannot be followed just now."""
        _, _, body = call(self.port, "GET", "/health/ready", {"Authorization": f"Bearer {OPS}"})
        return json.loads(body)["components"]["CATALOG_KUBERNETES"]["properties"].get("last_error") or ""

    def until(self, what, wanted, namespace=SPACE):
        try:
            until(SECONDS, what, lambda: self.shown(namespace) == wanted)
        except Failed as error:
            raise Failed(f"{error}; shown are {self.shown(namespace)}") from error

    def log(self):
        return self.process.log.read_text(errors="replace")


class Course:
    """The cluster, a registry that follows it, and what is there now."""

    def __init__(self, binary, directory):
        self.binary = binary
        self.directory = directory
        self.cluster = Cluster(directory)
        self.cluster.start()
        self.cluster.apply(manifests.DEPLOY / "kubernetes-rbac.yaml")
        self.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": SPACE}})
        self.token = directory / "token"
        self.renew_token()
        self.options = ("--k8s_ca_file", str(self.cluster.ca), "--k8s_token_file", str(self.token))
        self.registry = Registry(binary, directory, "a8registry", "--k8s_url",
                                 f"https://127.0.0.1:{self.cluster.port}", *self.options)

    def renew_token(self):
        new = self.directory / "token.new"
        new.write_text(self.cluster.token("a8registry", "a8registry"))
        new.rename(self.token)

    def pod(self, name, address, labels, annotations=None):
        """A pod as the scheduler and a kubelet would leave it; its uid."""
        pod = self.cluster.call("POST", PODS, {
            "metadata": {"name": name, "labels": labels, "annotations": annotations or {}},
            "spec": {"nodeName": "somewhere", "containers": [{"name": "main", "image": "none"}]}})
        ready = [{"type": "Ready", "status": "True"}]
        pod["status"] = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": ready}
        return self.cluster.call("PUT", f"{PODS}/{name}/status", pod)["metadata"]["uid"]

    def slice(self, name, service, endpoints, ports=None, family="IPv4"):
        self.cluster.put(SLICES, {
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}}, "addressType": family,
            "ports": ports or [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints})

    # --- what is tried, in order

    def suite(self):
        suite.play("catalog_kubernetes", self.directory, A8_TEST_KUBERNETES=f"https://127.0.0.1:{self.cluster.port}",
                   A8_TEST_KUBERNETES_CA=str(self.cluster.ca), A8_TEST_KUBERNETES_ADMIN=ADMIN,
                   A8_TEST_KUBERNETES_TOKEN_FILE=str(self.token))

    def appears(self):
        uid = self.pod("web-1", "10.1.0.1", {"app": "web", "version": "v1"}, {"owner": "team"})
        self.cluster.call("POST", SERVICES, {"metadata": {"name": "web"}, "spec": {
            "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
        self.slice("web-a", "web", [of_pod("web-1", uid, "10.1.0.1")])
        self.registry.until("the pod's instance", {("web", "10.1.0.1:8080"): "UP"})
        shown = self.registry.instances()
        wanted = {"service_name": "web", "endpoint": {"type": "http", "value": "10.1.0.1:8080"}, "status": "UP",
                  "tags": ["app=web", "version=v1"], "metadata": {"owner": "team"}, "last_heartbeat": "0001-01-01T00:00:00Z"}
        same(shown, {f"{uid}-8080": {"id": f"{uid}-8080", **wanted}})
        self.uid = uid

    def other_forms(self):
        self.cluster.call("POST", SERVICES, {"metadata": {"name": "db"}, "spec": {"clusterIP": "None", "ports": [{"port": 5432}]}})
        ports = [{"name": "sql", "port": 5432, "protocol": "TCP"}, {"name": "probe", "port": 5433, "protocol": "UDP"},
                 {"name": "sctp", "port": 5434, "protocol": "SCTP"}]
        self.slice("db-a", "db", [{"addresses": ["192.0.2.7"]}], ports)
        self.slice("db-six", "db", [{"addresses": ["2001:db8::7"]}], ports[:1], "IPv6")
        self.registry.until("a service without pods", {
            ("web", "10.1.0.1:8080"): "UP", ("db", "192.0.2.7:5432"): "UP", ("db", "192.0.2.7:5433"): "UP",
            ("db", "[2001:db8::7]:5432"): "UP"})
        same({"192.0.2.7-5432", "192.0.2.7-5433", "2001:db8::7-5432", f"{self.uid}-8080"}, set(self.registry.instances()))
        for name in ("db-a", "db-six"):
            self.cluster.delete(SLICES, name)
        self.registry.until("its end", {("web", "10.1.0.1:8080"): "UP"})

    def readiness(self):
        def is_now(**conditions):
            self.slice("web-a", "web", [of_pod("web-1", self.uid, "10.1.0.1", **conditions)])
        is_now(ready=False, serving=False, terminating=False)
        self.registry.until("one that is not ready is left out", {})
        is_now(ready=True, serving=True, terminating=False)
        self.registry.until("ready again", {("web", "10.1.0.1:8080"): "UP"})
        is_now(ready=False, serving=True, terminating=True)
        self.registry.until("one that ends and still serves", {("web", "10.1.0.1:8080"): "OUT_OF_SERVICE"})
        is_now(ready=False, serving=False, terminating=True)
        self.registry.until("one that ended", {})
        is_now(ready=True, serving=True, terminating=False)
        self.registry.until("ready again", {("web", "10.1.0.1:8080"): "UP"})

    def splits(self):
        uids = {name: self.pod(name, address, {"app": "web"}) for name, address in (("web-2", "10.1.0.2"), ("web-3", "10.1.0.3"))}
        one = of_pod("web-1", self.uid, "10.1.0.1")
        two, three = (of_pod(name, uids[name], address) for name, address in (("web-2", "10.1.0.2"), ("web-3", "10.1.0.3")))
        every = {("web", f"10.1.0.{nth}:8080"): "UP" for nth in (1, 2, 3)}
        self.slice("web-a", "web", [one, two, three])
        self.registry.until("three", every)
        for _ in range(20):
            self.slice("web-b", "web", [two, three])
            self.slice("web-a", "web", [one])
            same(self.registry.shown(), every)
            self.slice("web-a", "web", [one, two, three])
            self.cluster.delete(SLICES, "web-b")
            same(self.registry.shown(), every)
        self.slice("web-a", "web", [one])
        self.registry.until("one is left", {("web", "10.1.0.1:8080"): "UP"})

    def relabels(self):
        patch = {"metadata": {"labels": {"version": "v2"}, "annotations": {"owner": "others"}}}
        self.cluster.call("PATCH", f"{PODS}/web-1", patch, "application/merge-patch+json")
        def is_told():
            one = self.registry.instances()[f"{self.uid}-8080"]
            return one["tags"] == ["app=web", "version=v2"] and one["metadata"] == {"owner": "others"}
        until(SECONDS, "new labels and annotations", is_told)

    def deletes(self):
        self.cluster.delete(PODS, "web-1")
        again = self.pod("web-1", "10.1.0.1", {"app": "web"})
        self.slice("marker", "marker", [{"addresses": ["10.1.0.9"]}])
        self.registry.until("the marker", {("web", "10.1.0.1:8080"): "UP", ("marker", "10.1.0.9:8080"): "UP"})
        same({"10.1.0.9-8080", f"{self.uid}-8080"}, set(self.registry.instances()))
        self.slice("web-a", "web", [of_pod("web-1", again, "10.1.0.1")])
        until(SECONDS, "the new pod", lambda: set(self.registry.instances()) == {"10.1.0.9-8080", f"{again}-8080"})
        self.cluster.delete(SLICES, "marker")
        self.cluster.delete(SLICES, "web-a")
        self.registry.until("nothing is left", {})
        self.uid = again

    def restarts(self):
        self.slice("web-a", "web", [of_pod("web-1", self.uid, "10.1.0.1")])
        self.registry.until("one", {("web", "10.1.0.1:8080"): "UP"})
        self.cluster.stop_server()
        until(SECONDS, "the failure shows", lambda: "cannot be reached" in self.registry.error())
        same(self.registry.shown(), {("web", "10.1.0.1:8080"): "UP"})
        self.cluster.start_server()
        same(self.registry.shown(), {("web", "10.1.0.1:8080"): "UP"})
        self.slice("web-a", "web", [of_pod("web-1", self.uid, "10.1.0.1"), {"addresses": ["10.1.0.4"]}])
        self.registry.until("it goes on", {("web", "10.1.0.1:8080"): "UP", ("web", "10.1.0.4:8080"): "UP"})

    def loses_history(self):
        child = self.registry.process.child.pid
        os.kill(child, signal.SIGSTOP)
        try:
            self.cluster.stop_server()
            self.cluster.start_server()
            self.cluster.delete(SLICES, "web-a")
            self.slice("web-c", "web", [{"addresses": ["10.1.0.5"]}])
            self.cluster.forget_history()
            # What the API server itself remembers goes with it.
            self.cluster.restart_server()
        finally:
            os.kill(child, signal.SIGCONT)
        self.registry.until("what was missed", {("web", "10.1.0.5:8080"): "UP"})

    def rotates(self):
        # The old token is worth nothing when its account is another of the same name.
        accounts = "/api/v1/namespaces/a8registry/serviceaccounts"
        self.cluster.delete(accounts, "a8registry")
        self.cluster.call("POST", accounts, {"metadata": {"name": "a8registry"}})
        self.cluster.restart_server()
        until(SECONDS, "the old token is refused", lambda: "(401)" in self.registry.error())
        self.renew_token()
        self.slice("web-c", "web", [{"addresses": ["10.1.0.6"]}])
        self.registry.until("the new one is taken", {("web", "10.1.0.6:8080"): "UP"})
        if self.token.read_text()[-20:] in self.registry.log():
            raise Failed("the log holds the token")

    def falls_back(self):
        role = self.cluster.call("GET", f"{ROLE}/a8registry")
        whole = role["rules"]
        role["rules"] = [rule for rule in whole if "endpointslices" not in rule["resources"]]
        self.cluster.call("PUT", f"{ROLE}/a8registry", role)
        self.cluster.call("POST", ENDPOINTS, {"metadata": {"name": "old"}, "subsets": [
            {"addresses": [{"ip": "10.1.0.7"}], "notReadyAddresses": [{"ip": "10.1.0.8"}], "ports": [{"port": 80}]}]})
        self.cluster.restart_server()
        self.registry.until("Endpoints stand in", {("old", "10.1.0.7:80"): "UP"})
        role = self.cluster.call("GET", f"{ROLE}/a8registry")
        role["rules"] = whole
        self.cluster.call("PUT", f"{ROLE}/a8registry", role)
        # A registry that starts now decides anew.
        url = ("KUBERNETES_SERVICE_HOST=127.0.0.1", f"KUBERNETES_SERVICE_PORT={self.cluster.port}")
        other = Registry(self.binary, self.directory, "in-cluster", "--k8s_url", "in-cluster", *self.options, variables=url)
        try:
            other.until("slices once more, in-cluster", {("web", "10.1.0.6:8080"): "UP"})
        finally:
            other.process.stop()

    def bound_singly(self):
        accounts = "/api/v1/namespaces/a8registry/serviceaccounts"
        self.cluster.call("POST", accounts, {"metadata": {"name": "single"}})
        self.cluster.call("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SPACE}/rolebindings", {
            "metadata": {"name": "single"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "a8registry"},
            "subjects": [{"kind": "ServiceAccount", "name": "single", "namespace": "a8registry"}]})
        token = self.directory / "single"
        token.write_text(self.cluster.token("a8registry", "single"))
        single = Registry(self.binary, self.directory, "bound-singly", "--k8s_url", f"https://127.0.0.1:{self.cluster.port}",
                          "--k8s_ca_file", str(self.cluster.ca), "--k8s_token_file", str(token))
        try:
            single.until("what is in that namespace", {("web", "10.1.0.6:8080"): "UP"})
            same(single.shown("kube-system"), {})
            same(single.shown(), {("web", "10.1.0.6:8080"): "UP"})
        finally:
            single.process.stop()

    def unknown_names(self):
        same(self.registry.shown("nobody"), {})
        same(self.registry.shown("kube-system"), {})
        self.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": "nobody"}})
        path = "/apis/discovery.k8s.io/v1/namespaces/nobody/endpointslices"
        self.cluster.call("POST", path, {
            "metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "late"}}, "addressType": "IPv4",
            "ports": [{"port": 80}], "endpoints": [{"addresses": ["10.1.0.10"]}]})
        # It is looked up again after a minute.
        until(90, "a namespace that came later", lambda: self.registry.shown("nobody") == {("late", "10.1.0.10:80"): "UP"}, 0.5)


STEPS = [(Course.suite, "the suite that all catalogs play"),
         (Course.appears, "a pod's port appears with labels and annotations"),
         (Course.other_forms, "several ports, IPv6, services without selector or pods"),
         (Course.readiness, "not ready, ready, terminating"),
         (Course.splits, "slices split and move without a flicker"),
         (Course.relabels, "labels and annotations change"),
         (Course.deletes, "pods and slices go"),
         (Course.restarts, "the API server restarts"),
         (Course.loses_history, "what happened is compacted away (410)"),
         (Course.rotates, "the token is replaced"),
         (Course.falls_back, "Endpoints where slices are forbidden (403), slices again, in-cluster"),
         (Course.bound_singly, "an account that is bound in one namespace only"),
         (Course.unknown_names, "names that Kubernetes does not know, until it does")]


MANIFESTS = [(manifests.is_strict, "a field that the API server does not know is refused"),
             (manifests.rights, "the account's rights are those that the README names, of all that there are"),
             (manifests.with_token, "its token reads what it may, and no secrets"),
             (manifests.stateful_set, "the StatefulSet and what belongs to it is taken, and means what it says"),
             (manifests.restricted, "its pods are taken by the policy \"restricted\"")]


def of_pod(name, uid, address, ready=True, serving=True, terminating=False):
    return {"addresses": [address], "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            "targetRef": {"kind": "Pod", "namespace": SPACE, "name": name, "uid": uid}}


def same(got, wanted):
    if got != wanted:
        raise Failed(f"got {got}, wanted {wanted}")


def main():
    binary = sys.argv[1] if len(sys.argv) == 2 else "bin/a8registry"
    if not os.access(binary, os.X_OK):
        sys.exit(f"no registry at {binary}; build it first, or name it")
    return conduct("kubernetes", lambda directory, report: run(str(Path(binary).resolve()), directory, report))


def run(binary, directory, report):
    suite.prepare()
    course = Course(binary, directory)
    report.left_out.append("kubernetes: the pods of deploy/kubernetes-statefulset.yaml, which nobody starts without a kubelet; "
                           "make test.deploy starts such registries in containers")
    report.steps("manifests", ((text, partial(step, course.cluster)) for step, text in MANIFESTS))
    report.steps("kubernetes", ((text, partial(step, course)) for step, text in STEPS))


if __name__ == "__main__":
    sys.exit(main())
