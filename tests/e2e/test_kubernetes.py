"""deploy/kubernetes, rendered by kubectl itself, is valid for the API, and its parts go together."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from adapter.metrics import Metrics
from adapter.settings import VARIABLES, PreparationSettings, Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
(OWN,) = re.findall(r"```yaml\n# mine/kustomization.yaml\n(.*?)```", PAGE, re.DOTALL)
"""The kustomization of one's own that the page shows: on GPUs, with both components."""
OLDEST, NEWEST = "1.29.0", kubernetes_validate.latest_version()
LAST_ANSWERS_S = 10
"""What docs/settings.md says that whoever stops the service must wait besides."""
TRITON_EXIT_S = 10
"""`--exit-timeout-secs`, as docker/ starts it."""
LABELS = {"app.kubernetes.io/name": "immich-triton"}

Object = dict[str, Any]


class Rendered:
    """What `kubectl kustomize` makes of a folder."""

    def __init__(self, folder: Path) -> None:
        kubectl = Path(sys.executable).with_name("kubectl")
        done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.objects: list[Object] = list(yaml.safe_load_all(done.stdout))

    def all(self, kind: str) -> list[Object]:
        return [found for found in self.objects if found["kind"] == kind]

    def one(self, kind: str, name: str = "immich-triton") -> Object:
        named = re.compile(rf"{name}(-[a-z0-9]{{10}})?")  # a ConfigMap's name ends in a hash
        (found,) = (found for found in self.all(kind) if named.fullmatch(found["metadata"]["name"]))
        return found

    @property
    def pod(self) -> Object:
        template: Object = self.one("Deployment")["spec"]["template"]
        return template

    @property
    def triton(self) -> Object:
        (container,) = self.pod["spec"]["initContainers"]
        return dict(container)

    @property
    def adapter(self) -> Object:
        (container,) = self.pod["spec"]["containers"]
        return dict(container)

    @property
    def variables(self) -> dict[str, str]:
        """The adapter's environment, but for what only a cluster knows."""
        given = {each["name"]: each["value"] for each in self.adapter["env"] if "value" in each}
        return {**self.one("ConfigMap")["data"], **given}

    def open_ports(self) -> set[int]:
        rules = [rule for policy in self.all("NetworkPolicy") for rule in policy["spec"]["ingress"]]
        assert all(rule["from"] and rule["ports"] for rule in rules), (
            "one is open to everybody, or for everything"
        )
        return {port["port"] for rule in rules for port in rule["ports"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifests, and the page's kustomization beside them."""
    folder = tmp_path_factory.mktemp("kubernetes")
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    (folder / "mine").mkdir()
    (folder / "mine" / "kustomization.yaml").write_text(OWN)
    return folder


@pytest.fixture(scope="module")
def cpu(folder: Path) -> Rendered:
    return Rendered(folder / "cpu")


@pytest.fixture(scope="module")
def mine(folder: Path) -> Rendered:
    return Rendered(folder / "mine")


@pytest.fixture(scope="module", params=["cpu", "gpu", "mine"])
def rendered(request: pytest.FixtureRequest, folder: Path) -> Rendered:
    return Rendered(folder / request.param)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_api_takes_every_object(rendered: Rendered, version: str) -> None:
    for each in rendered.objects:
        if each["kind"] != "ServiceMonitor":  # Prometheus' own, which the API does not know
            kubernetes_validate.validate(each, version, strict=True)


def test_pods_are_closed_as_the_strictest_pod_security_standard_asks(rendered: Rendered) -> None:
    spec = rendered.pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"]
    for container in (rendered.triton, rendered.adapter):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


def test_every_volume_is_mounted_and_pictures_lie_in_memory(rendered: Rendered) -> None:
    volumes = {volume["name"]: volume for volume in rendered.pod["spec"]["volumes"]}
    mounts = [mount for each in (rendered.triton, rendered.adapter) for mount in each["volumeMounts"]]
    assert {mount["name"] for mount in mounts} == volumes.keys()
    for mount in mounts:
        if mount["mountPath"] in ("/dev/shm", "/tmp", "/key"):
            assert volumes[mount["name"]]["emptyDir"]["medium"] == "Memory"


def test_triton_is_on_loopback_and_port_3003_alone_is_open(cpu: Rendered, mine: Rendered) -> None:
    for each in (cpu, mine):
        assert "--http-address=127.0.0.1" in each.triton["args"]
        assert each.variables["IMMICH_TRITON_URL"] == "http://127.0.0.1:8000"
    assert cpu.open_ports() == {3003}
    assert mine.open_ports() == {3003, 9103, 8002}, "metrics, for the component that wants them"
    assert [port["port"] for port in mine.one("Service")["spec"]["ports"]] == [3003]


def test_every_selector_finds_the_pods(rendered: Rendered) -> None:
    assert rendered.pod["metadata"]["labels"] == LABELS
    kinds = {"Deployment": "selector", "PodDisruptionBudget": "selector", "NetworkPolicy": "podSelector"}
    for kind, selector in kinds.items():
        for each in rendered.all(kind):
            assert each["spec"][selector] == {"matchLabels": LABELS}
    assert all(service["spec"]["selector"] == LABELS for service in rendered.all("Service"))
    (spread,) = rendered.pod["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"] == {"matchLabels": LABELS}


def test_the_service_takes_its_settings(rendered: Rendered) -> None:
    variables = rendered.variables
    assert variables.keys() <= VARIABLES
    assert Settings.model_validate(variables).preload
    assert PreparationSettings.model_validate(variables).device == variables["IMMICH_TRITON_DEVICE"]
    assert not rendered.pod["spec"]["enableServiceLinks"], "a Service's variables would be taken for settings"


def test_a_variable_is_defined_before_it_is_used(rendered: Rendered) -> None:
    for container in (rendered.triton, rendered.adapter):
        names: set[str] = set()
        for each in container.get("env", []):
            assert set(re.findall(r"\$\((\w+)\)", each.get("value", ""))) <= names
            names.add(each["name"])
        assert set(re.findall(r"\$\((\w+)\)", " ".join(container["args"]))) <= names


def test_who_waits_for_models_gets_no_requests_and_is_not_killed(rendered: Rendered) -> None:
    probes = {
        name: rendered.adapter[f"{name}Probe"]["exec"]["command"]
        for name in ("startup", "readiness", "liveness")
    }
    assert probes == {
        "startup": ["check-ping", "--alive"],
        "readiness": ["check-ping"],
        "liveness": ["check-ping", "--alive"],
    }


def test_what_a_pod_holds_is_answered_before_it_ends_and_triton_ends_last(rendered: Rendered) -> None:
    settings = Settings.model_validate(rendered.variables)
    assert settings.stop_grace_s >= settings.deadline_s
    needed_s = settings.stop_notice_s + settings.stop_grace_s + LAST_ANSWERS_S + TRITON_EXIT_S
    assert rendered.pod["spec"]["terminationGracePeriodSeconds"] >= needed_s
    assert rendered.triton["restartPolicy"] == "Always", "a sidecar is stopped after the others"


@pytest.mark.parametrize(
    ("name", "gpus", "image"),
    [
        ("cpu", 0, "immich-triton:release"),
        ("gpu", 1, "immich-triton:release-gpu"),
        ("mine", 1, "ghcr.io/owner/immich-triton:0.2.0-gpu"),
    ],
)
def test_triton_alone_has_the_gpu_and_both_run_the_image_for_it(
    folder: Path, name: str, gpus: int, image: str
) -> None:
    rendered = Rendered(folder / name)
    containers = (rendered.triton, rendered.adapter)
    assert [each["image"] for each in containers] == [image, image]
    limits = [each["resources"]["limits"].get("nvidia.com/gpu", "0") for each in containers]
    assert limits == [str(gpus), "0"]
    assert rendered.variables["IMMICH_TRITON_DEVICE"] == ("gpu" if gpus else "cpu")


def test_prometheus_finds_both_metrics_under_the_names_of_the_alerts(mine: Rendered) -> None:
    service, monitor = mine.one("Service", "immich-triton-metrics"), mine.one("ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert not monitor["selector"]["matchLabels"].items() <= mine.one("Service")["metadata"]["labels"].items()
    ports = {port["name"]: port["targetPort"] for port in service["spec"]["ports"]}
    jobs = {each["relabelings"][0]["replacement"]: ports[each["port"]] for each in monitor["endpoints"]}
    assert jobs == {"immich-triton": 9103, "triton": 8002}
    assert mine.variables["IMMICH_TRITON_METRICS_LISTEN"] == "$(POD_IP):9103"
    alerts = (ROOT / "deploy" / "monitoring" / "alerts.yml").read_text()
    assert set(re.findall(r'job="(\S+?)"', alerts)) == jobs.keys()


def test_the_autoscaler_asks_for_what_the_rule_makes_of_the_adapters_metric(mine: Rendered) -> None:
    (rule,) = yaml.safe_load((FOLDER / "autoscaling" / "prometheus-adapter.yaml").read_text())["rules"][
        "custom"
    ]
    assert rule["seriesQuery"].partition("{")[0] in set(metric_names())
    autoscaler = mine.one("HorizontalPodAutoscaler")["spec"]
    (metric,) = autoscaler["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    deployment = mine.one("Deployment")
    assert autoscaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"], "each `kubectl apply` would undo what the autoscaler did"


def metric_names() -> Iterator[str]:
    return (family.name for family in Metrics().registry.collect())
