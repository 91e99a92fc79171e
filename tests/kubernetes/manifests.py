"""What is in deploy/ for Kubernetes, as the API server sees it once it has taken it.

No kubelet is there, so no container starts.
Never: judges a manifest by reading it alone.
"""
import urllib.parse

from cluster import HERE, KINDS
from programs import Failed

DEPLOY = HERE.parent.parent / "deploy"
ACCOUNT = "system:serviceaccount:a8registry:a8registry"
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
# What the README says: (group, resource, verb).
RIGHTS = {*((group, resource, verb) for group, resource in (("discovery.k8s.io", "endpointslices"), ("", "pods"), ("", "endpoints"))
            for verb in ("list", "watch")), ("", "namespaces", "get")}


def same(what, got, wanted):
    if got != wanted:
        raise Failed(f"{what}: got {got!r}, wanted {wanted!r}")


def is_strict(cluster):
    """A field that is none is refused, else nothing below says anything."""
    text = (DEPLOY / "kubernetes-statefulset.yaml").read_text().split("\n---\n")[-1]
    wrong = text.replace("readinessProbe:", "readynessProbe:")
    try:
        cluster.create(wrong)
    except Failed as error:
        if "readynessProbe" in str(error):
            return
        raise
    raise Failed("a field that is none was taken")


def resources(cluster):
    """All that the API server has: (group, resource or resource/part)."""
    groups = [("", "/api/v1")]
    for group in cluster.call("GET", "/apis")["groups"]:
        groups += [(group["name"], f"/apis/{version['groupVersion']}") for version in group["versions"]]
    return {(group, one["name"]) for group, path in groups for one in cluster.call("GET", path)["resources"]}


def rights(cluster):
    """Exactly what the README says may be done with the service account, of all that can be done."""
    every = resources(cluster)
    missing = {(group, name) for group, name, _ in RIGHTS} - every
    same("resources that are none", missing, set())
    # What anybody with an account may do.
    other = "system:serviceaccount:a8registry:another"
    all_there_is = [(group, name, verb) for group, name in sorted(every) for verb in VERBS]
    allowed = {one for one in all_there_is if may(cluster, ACCOUNT, *one)}
    usual = {one for one in allowed - RIGHTS if may(cluster, other, *one)}
    same("rights", allowed - usual, RIGHTS)
    print(f"           {len(every)} resources, {len(VERBS)} verbs each; anybody may {sorted(usual)}", flush=True)


def may(cluster, user, group, resource, verb):
    name, _, part = resource.partition("/")
    review = cluster.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {
        "user": user, "groups": ["system:serviceaccounts", "system:serviceaccounts:a8registry", "system:authenticated"],
        "resourceAttributes": {"namespace": "shop", "group": group, "resource": name, "subresource": part, "verb": verb}}})
    return review["status"]["allowed"]


def with_token(cluster):
    """The same by the token that a pod would have."""
    bearer = cluster.token("a8registry", "a8registry")
    for path, status in (("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices", 200), ("/api/v1/namespaces/shop/pods", 200),
                         ("/api/v1/namespaces/shop/endpoints", 200), ("/api/v1/namespaces/shop", 200),
                         ("/api/v1/namespaces/shop/secrets", 403), ("/api/v1/namespaces/shop/configmaps", 403),
                         ("/api/v1/namespaces/shop/services", 403), ("/api/v1/namespaces", 403)):
        same(path, cluster.status("GET", path, bearer), status)
    same("a write", cluster.status("DELETE", "/api/v1/namespaces/shop/pods/none", bearer), 403)


def stateful_set(cluster):
    """What the API server made of it, defaults and all."""
    made = {(one["kind"], one["metadata"]["name"]): one for one in cluster.apply(DEPLOY / "kubernetes-statefulset.yaml")}
    same("objects", set(made), {("Service", "a8-registry"), ("Service", "a8-registry-members"),
                                ("PodDisruptionBudget", "a8-registry"), ("StatefulSet", "a8-registry")})
    for (kind, name), one in made.items():
        path = f"{KINDS[kind].format(one['metadata']['namespace'])}/{name}"
        same(f"{kind} {name} is kept", cluster.call("GET", path)["metadata"]["uid"], one["metadata"]["uid"])
    spec = made["StatefulSet", "a8-registry"]["spec"]
    pods = spec["template"]["metadata"]["labels"]
    container = spec["template"]["spec"]["containers"][0]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    environment = {one["name"]: one.get("value") for one in container["env"]}

    members = made["Service", spec["serviceName"]]["spec"]
    same("no address of its own", members["clusterIP"], "None")
    same("members are found while they catch up", members["publishNotReadyAddresses"], True)
    same("the name that is looked up", environment["A8_CLUSTER_DNS"], spec["serviceName"])
    same("size", (environment["A8_CLUSTER_SIZE"], spec["replicas"]), ("3", 3))
    front = made["Service", "a8-registry"]["spec"]
    same("only the ready are asked", front.get("publishNotReadyAddresses", False), False)
    for service, port in ((front, 8080), (members, 6100)):
        same("selector", service["selector"].items() <= pods.items(), True)
        same("port", [(one["port"], ports[one["targetPort"]], one["protocol"]) for one in service["ports"]], [(port, port, "TCP")])
    budget = made["PodDisruptionBudget", "a8-registry"]["spec"]
    same("one at a time is moved", budget["maxUnavailable"], 1)
    same("of these", budget["selector"]["matchLabels"].items() <= pods.items(), True)
    same("selector", spec["selector"]["matchLabels"].items() <= pods.items(), True)
    same("start", spec["podManagementPolicy"], "Parallel")
    same("update", (spec["updateStrategy"]["type"], spec["updateStrategy"]["rollingUpdate"]), ("RollingUpdate", {"partition": 0}))
    for probe, path in (("readinessProbe", "/health/ready"), ("livenessProbe", "/health/live")):
        get = container[probe]["httpGet"]
        same(probe, (get["path"], ports[get["port"]], get["scheme"]), (path, 8080, "HTTP"))
    secret = next(one["valueFrom"]["secretKeyRef"] for one in container["env"] if one["name"] == "A8_CLUSTER_SECRET")
    same("the secret that is made before", secret, {"name": "a8-registry", "key": "cluster-secret"})
    # The pause before the end, and what a registry may take to drain.
    grace = spec["template"]["spec"]["terminationGracePeriodSeconds"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    same("time to drain", 20 < grace - pause, True)
    same("no token of the API server", spec["template"]["spec"].get("automountServiceAccountToken"), False)
    return spec["template"]


def restricted(cluster):
    """The pod of the template is taken where the strictest policy holds, which refuses one that is root."""
    template = cluster.call("GET", f"{KINDS['StatefulSet'].format('default')}/a8-registry")["spec"]["template"]
    cluster.call("POST", "/api/v1/namespaces", {"metadata": {
        "name": "strict", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    pod = {"metadata": {"name": "a8-registry-0", "labels": template["metadata"]["labels"]}, "spec": template["spec"]}
    path = "/api/v1/namespaces/strict/pods?" + urllib.parse.urlencode({"fieldValidation": "Strict"})
    cluster.call("POST", path, pod)
    root = {**pod, "metadata": {"name": "root"}, "spec": {**template["spec"], "securityContext": {}}}
    try:
        cluster.call("POST", path, root)
    except Failed as error:
        if "runAsNonRoot" in str(error):
            return
        raise
    raise Failed("a pod that may be root was taken")
