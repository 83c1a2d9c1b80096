"""What makes a container a native sidecar that neither loses spans nor harms its agent: each rule with its reason and an example of its breach.

Owns the rules that a pod shows by itself; those that need the configuration (grace period, room in the volume) are in ``rules``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from tests.deploy.manifests import SIDECAR, Tree, environment, size_bytes, sources

DATA = "/var/lib/langfuse-sidecar"
CONFIG = "/etc/langfuse-sidecar"
KEYS = "/etc/langfuse-sidecar-keys"
PORTS = frozenset({4317, 4318, 9464})
PORT_NAME_MAX = 15
"""An IANA service name, as the API server has it."""
STARTING_S, HANGING_S = 60, 60
"""After a crash the buffer is checked before spans are accepted; a process that does not answer for a minute will not come back by itself."""
PLACE = {
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "NODE_NAME": "spec.nodeName",
    "CONTAINER_NAME": "metadata.annotations['langfuse-sidecar/container']",
}


class Pod(NamedTuple):
    """A pod template, its sidecar, and every other container."""

    template: Tree
    sidecar: Tree
    others: list[Tree]

    @property
    def spec(self) -> Tree:
        return self.template["spec"]


class Rule(NamedTuple):
    """``because`` is the reason; setting ``breach[0]``, a path in the pod template, to ``breach[1]`` must break it (None takes the field away)."""

    name: str
    because: str
    holds: Callable[[Pod], bool]
    breach: tuple[str, object]


def opened(template: Tree) -> Pod:
    """A pod template taken apart; an empty sidecar where there is none."""
    containers = [*template["spec"]["initContainers"].items(), *template["spec"]["containers"].items()]
    found = [each for each in containers if each["name"] == SIDECAR]
    return Pod(template, found[0] if found else Tree(None), [each for each in containers if each["name"] != SIDECAR])


def broken(template: Tree) -> list[str]:
    """The rules that a pod template breaks, as sentences."""
    pod = opened(template)
    return [f"{rule.name}: {rule.because}" for rule in RULES if not rule.holds(pod)]


def lasts_s(probe: Tree) -> float:
    return float(probe["periodSeconds"].value or 10) * float(probe["failureThreshold"].value or 3)  # type: ignore[arg-type]  # numbers or nothing


def mounts(container: Tree) -> dict[str, Tree]:
    return {each["mountPath"].text(): each for each in container["volumeMounts"].items()}


def volume(pod: Pod, path: str) -> Tree:
    """The volume that the sidecar mounts at a path."""
    mount = mounts(pod.sidecar).get(path, Tree(None))
    return next((each for each in pod.spec["volumes"].items() if each["name"] == mount["name"]), Tree(None))


def ports(container: Tree) -> list[tuple[object, object]]:
    return [(each["name"].value, each["containerPort"].value) for each in container["ports"].items()]


def has_good_ports(pod: Pod) -> bool:
    ours, theirs = ports(pod.sidecar), [port for each in pod.others for port in ports(each)]
    named = Counter(name for name, _ in (*ours, *theirs) if name)
    return (
        ours == [("sidecar-admin", 9464)]
        and not PORTS & {number for _, number in theirs}
        and max(named.values()) == 1
        and max(map(len, map(str, named))) <= PORT_NAME_MAX
    )


def asks_for_memory(pod: Pod) -> bool:
    requests, limits = pod.sidecar["resources"]["requests"], pod.sidecar["resources"]["limits"]
    return "memory" in requests and "memory" in limits and size_bytes(requests["memory"].text()) <= size_bytes(limits["memory"].text())


def keeps_the_buffer(pod: Pod) -> bool:
    found, mount = volume(pod, DATA), mounts(pod.sidecar).get(DATA, Tree(None))
    return not mount["readOnly"] and bool(found["emptyDir"]["sizeLimit"] or found["persistentVolumeClaim"]["claimName"])


def reads_its_files_only(pod: Pod) -> bool:
    found = mounts(pod.sidecar)
    return {path for path, mount in found.items() if not mount["readOnly"]} == {DATA} and {*found} == {DATA, CONFIG, KEYS}


def keeps_to_itself(pod: Pod) -> bool:
    """No other container mounts the sidecar's volumes or names its Secret."""
    ours = {each["name"].value for each in pod.sidecar["volumeMounts"].items()}
    theirs = {mount["name"].value for each in pod.others for mount in each["volumeMounts"].items()}
    named = {str(source["secretKeyRef"]["name"].value) for each in pod.others for source in sources(each).values()}
    named |= {str(source["secretRef"]["name"].value) for each in pod.others for source in each["envFrom"].items()}
    return not ours & theirs and SIDECAR not in named


def has_its_keys(pod: Pod) -> bool:
    """The secret ones as files that the environment only names."""
    plain, named = environment(pod.sidecar), {name: each["secretKeyRef"] for name, each in sources(pod.sidecar).items() if "secretKeyRef" in each}
    return (
        named
        == {
            "LANGFUSE_PUBLIC_KEY": {"name": SIDECAR, "key": "public-key"},
            "LANGFUSE_BASE_URL": {"name": SIDECAR, "key": "base-url", "optional": True},
        }
        and plain["LANGFUSE_SECRET_KEY_FILE"] == f"{KEYS}/secret-key"
        and plain["MASKING_HMAC_KEY_FILE"] == f"{KEYS}/hmac-key"
        and volume(pod, KEYS)["secret"]["secretName"] == SIDECAR
    )


FIRST = "spec.initContainers.0"
AGENT = "spec.containers.0"
RULES = (
    Rule(
        "it is an init container that always restarts",
        "any other init container must end before the agent starts; any other container keeps a Job from ending",
        lambda pod: pod.sidecar in pod.spec["initContainers"].items() and pod.sidecar["restartPolicy"] == "Always",
        (f"{FIRST}.restartPolicy", None),
    ),
    Rule(
        "it is the first init container",
        "init containers start in order and sidecars stop in reverse order: whatever comes before it can't send spans",
        lambda pod: bool(pod.spec["initContainers"].items()) and pod.spec["initContainers"].items()[0] == pod.sidecar,
        ("spec.initContainers", [{"name": "migrate"}, {"name": SIDECAR, "restartPolicy": "Always"}]),
    ),
    Rule(
        "it is there once",
        "a second one would ask for the same ports and the same buffer file",
        lambda pod: [each["name"].value for each in (*pod.spec["initContainers"].items(), *pod.spec["containers"].items())].count(SIDECAR) == 1,
        (AGENT, {"name": SIDECAR}),
    ),
    Rule(
        "a startup probe tells when the agent may start",
        "without one the next container starts as soon as the process exists, and its first spans are refused",
        lambda pod: bool(pod.sidecar["startupProbe"]),
        (f"{FIRST}.startupProbe", None),
    ),
    Rule(
        "the startup probe asks the receiver from inside",
        "the receivers listen on loopback, and kubelet's own connections come to the pod's address; /readyz would keep the agent from starting while the buffer is full",
        lambda pod: (
            "127.0.0.1" in str(pod.sidecar["startupProbe"]["exec"]["command"]) and "4318" in str(pod.sidecar["startupProbe"]["exec"]["command"])
        ),
        (f"{FIRST}.startupProbe", {"httpGet": {"path": "/readyz", "port": "sidecar-admin"}, "periodSeconds": 1, "failureThreshold": 60}),
    ),
    Rule(
        "starting may take a minute",
        "after a crash the buffer's file is checked first; killing it then would begin that anew",
        lambda pod: lasts_s(pod.sidecar["startupProbe"]) >= STARTING_S,
        (f"{FIRST}.startupProbe.failureThreshold", 3),
    ),
    Rule(
        "starting is noticed within a second",
        "the agent waits for the probe, each time that a pod starts",
        lambda pod: pod.sidecar["startupProbe"]["periodSeconds"] == 1,
        (f"{FIRST}.startupProbe.periodSeconds", None),
    ),
    Rule(
        "liveness asks whether the process answers, and nothing else",
        "a restart mends a hanging process; it does not mend Langfuse or a full buffer",
        lambda pod: pod.sidecar["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "sidecar-admin"},
        (f"{FIRST}.livenessProbe.httpGet.path", "/readyz"),
    ),
    Rule(
        "liveness is patient",
        "a node without CPU for a while is no reason to restart",
        lambda pod: lasts_s(pod.sidecar["livenessProbe"]) >= HANGING_S and (pod.sidecar["livenessProbe"]["timeoutSeconds"].value or 1) != 1,
        (f"{FIRST}.livenessProbe.failureThreshold", 1),
    ),
    Rule(
        "readiness asks for no more than liveness",
        "a sidecar's readiness counts for the whole pod: an outage of Langfuse or a full buffer would take the agent out of its Service",
        lambda pod: not pod.sidecar["readinessProbe"] or pod.sidecar["readinessProbe"]["httpGet"]["path"] == "/livez",
        (f"{FIRST}.readinessProbe.httpGet.path", "/readyz"),
    ),
    Rule(
        "it has no hooks",
        "the order of native sidecars ends the agent first; a preStop hook would only take from the grace period that both share",
        lambda pod: "lifecycle" not in pod.sidecar,
        (f"{FIRST}.lifecycle", {"preStop": {"sleep": {"seconds": 5}}}),
    ),
    Rule(
        "its port is named, and nobody else's",
        "the PodMonitor and the probes name it; containers of a pod share one address",
        has_good_ports,
        (f"{AGENT}.ports", [{"name": "http", "containerPort": 4318}]),
    ),
    Rule(
        "the pod has an address of its own",
        "on the node's network loopback is everybody's: other pods could send spans, and a second sidecar would find the ports taken",
        lambda pod: (
            not pod.spec["hostNetwork"] and not [each for port in pod.sidecar["ports"].items() for each in ("hostPort", "hostIP") if each in port]
        ),
        ("spec.hostNetwork", True),
    ),
    Rule(
        "the agent sends to loopback",
        "that is where the receivers listen",
        lambda pod: "http://localhost:4318" in {environment(each).get("OTEL_EXPORTER_OTLP_ENDPOINT") for each in pod.others},
        (f"{AGENT}.env", [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://langfuse-sidecar:4318"}]),
    ),
    Rule(
        "the agent knows nothing of Langfuse",
        "keys that it does not have it can't leak",
        lambda pod: not [name for each in pod.others for name in (*environment(each), *sources(each)) if "LANGFUSE" in name],
        (f"{AGENT}.env", [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://localhost:4318"}, {"name": "LANGFUSE_PUBLIC_KEY", "value": "pk"}]),
    ),
    Rule(
        "memory is asked for and limited",
        "the scheduler adds a native sidecar's requests to the pod's; without a limit a leak would take the agent's memory",
        asks_for_memory,
        (f"{FIRST}.resources.limits", {}),
    ),
    Rule(
        "CPU is asked for and not limited",
        "a throttled relay answers late, and the agent waits",
        lambda pod: "cpu" in pod.sidecar["resources"]["requests"] and "cpu" not in pod.sidecar["resources"]["limits"],
        (f"{FIRST}.resources.limits", {"cpu": "100m", "memory": "384Mi"}),
    ),
    Rule(
        "ephemeral storage is asked for and not limited",
        "a limit would count logs too, and over it the whole pod is evicted; the volume has its own",
        lambda pod: "ephemeral-storage" in pod.sidecar["resources"]["requests"] and "ephemeral-storage" not in pod.sidecar["resources"]["limits"],
        (f"{FIRST}.resources.limits", {"memory": "384Mi", "ephemeral-storage": "1Gi"}),
    ),
    Rule(
        "the buffer is a bounded volume",
        "the container's own files go when it restarts, and a volume without a bound can fill the node",
        keeps_the_buffer,
        ("spec.volumes", [{"name": "langfuse-sidecar-buffer", "emptyDir": {}}]),
    ),
    Rule(
        "the buffer is on disk",
        "a volume in memory would count against the memory limit, and an outage would end in a kill",
        lambda pod: "medium" not in volume(pod, DATA)["emptyDir"],
        ("spec.volumes", [{"name": "langfuse-sidecar-buffer", "emptyDir": {"sizeLimit": "2Gi", "medium": "Memory"}}]),
    ),
    Rule(
        "everything but the buffer is read-only",
        "configuration and keys are read again when they change, never written",
        reads_its_files_only,
        (f"{FIRST}.volumeMounts.1.readOnly", None),
    ),
    Rule(
        "its volumes and its Secret are its own",
        "the agent must see neither the keys nor others' prompts",
        keeps_to_itself,
        (f"{AGENT}.volumeMounts", [{"name": "langfuse-sidecar-keys", "mountPath": "/keys"}]),
    ),
    Rule(
        "keys come from the Secret, the secret ones as files",
        "variables are inherited and printed; files are read again when they change",
        has_its_keys,
        (f"{FIRST}.env.2.value", "/etc/langfuse-sidecar/secret-key"),
    ),
    Rule(
        "place comes from the Downward API",
        "so that no access to the Kubernetes API is needed; the container's name is the agent's, out of an annotation",
        lambda pod: {name: each["fieldRef"]["fieldPath"].value for name, each in sources(pod.sidecar).items() if "fieldRef" in each} == PLACE,
        (f"{FIRST}.env.6", {"name": "POD_NAME", "value": "assistant"}),
    ),
    Rule(
        "it runs as user and group 10001",
        "the image's own; a number, because kubelet can't tell whether a name is root",
        lambda pod: [pod.sidecar["securityContext"][key].value for key in ("runAsNonRoot", "runAsUser", "runAsGroup")] == [True, 10001, 10001],
        (f"{FIRST}.securityContext.runAsUser", 0),
    ),
    Rule(
        "it gains no rights",
        "it needs none: that is the restricted Pod Security Standard, which the agent's namespace may enforce",
        lambda pod: (
            pod.sidecar["securityContext"]["allowPrivilegeEscalation"] == Tree(value=False)
            and pod.sidecar["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            and pod.sidecar["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            and "privileged" not in pod.sidecar["securityContext"]
        ),
        (f"{FIRST}.securityContext.capabilities", {"drop": ["ALL"], "add": ["NET_ADMIN"]}),
    ),
    Rule(
        "its root file system is read-only",
        "nothing is written outside of the buffer's directory, and nothing may be",
        lambda pod: pod.sidecar["securityContext"]["readOnlyRootFilesystem"] == Tree(value=True),
        (f"{FIRST}.securityContext.readOnlyRootFilesystem", None),
    ),
    Rule(
        "processes don't see each other",
        "in a common process namespace the agent could read the sidecar's files and variables",
        lambda pod: not pod.spec["shareProcessNamespace"],
        ("spec.shareProcessNamespace", True),
    ),
    Rule(
        "the pod says that it has a sidecar",
        "PodMonitor and NetworkPolicy select pods by this label",
        lambda pod: pod.template["metadata"]["labels"]["langfuse-sidecar/injected"] == "true",
        ("metadata.labels", {}),
    ),
)
