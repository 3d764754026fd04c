"""Prometheus accepts our rules and finds in a running service everything that rules and dashboard ask for."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from adapter.embedded import free_port
from demo.models.clip import NAME
from tests.support.asking import LEMON, clip_entries, face_entries
from tests.support.server import NewState, Server

FOLDER = Path(__file__).parents[2] / "deploy" / "monitoring"
RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((FOLDER / "grafana/dashboards/immich-triton.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
ON_A_GPU = re.compile(r"nv_gpu_(utilization|memory_used_bytes|memory_total_bytes|power_usage)")
"""Triton has these only where there is a GPU."""


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None,
        reason=f"{program} is not installed here (Debian: apt install prometheus)",
    )


@needs("promtool")
@pytest.mark.parametrize("check", ["check config prometheus.yml", "test rules alerts.test.yml"])
def test_promtool_accepts_the_config_and_each_alert_comes_when_it_should(check: str) -> None:
    done = subprocess.run(["promtool", *check.split()], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_with_it_and_a_case_without() -> None:
    quiet, loud = yaml.safe_load((FOLDER / "alerts.test.yml").read_text())["tests"]
    names = [rule["alert"] for rule in RULES]
    assert [case["alertname"] for case in quiet["alert_rule_test"] if "exp_alerts" not in case] == names
    assert [case["alertname"] for case in loud["alert_rule_test"] if case["exp_alerts"]] == names


def test_panels_ask_the_provisioned_source_and_lie_beside_each_other() -> None:
    (source,) = yaml.safe_load((FOLDER / "grafana/datasources/prometheus.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [cell for panel in DASHBOARD["panels"] for cell in _cells(**panel["gridPos"])]
    assert len(set(cells)) == len(cells), "two panels overlap"
    assert max(x for x, _ in cells) < 24


def _cells(x: int, y: int, w: int, h: int) -> Iterator[tuple[int, int]]:
    return ((column, row) for column in range(x, x + w) for row in range(y, y + h))


class Watched(Server):
    """A service with its own metrics and Triton's."""

    def __init__(self, state: Path) -> None:
        self.metrics, self.triton_metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
        super().__init__(
            state,
            IMMICH_TRITON_METRICS_LISTEN=self.metrics,
            IMMICH_TRITON_METRICS_PORT=self.triton_metrics.partition(":")[2],
        )

    def work(self) -> None:
        """One request of each kind, and one that fails."""
        statuses = [
            self.predict(clip_entries("textual"), text="sunset").status_code,
            self.predict(clip_entries("visual"), LEMON).status_code,
            self.predict(face_entries(), LEMON).status_code,
            self.predict(clip_entries("visual"), b"no picture").status_code,
            self.predict(clip_entries("visual", "made-up"), LEMON).status_code,
        ]
        assert statuses == [200, 200, 200, 400, 422]


@pytest.fixture(scope="module")
def watched(new_state: NewState) -> Iterator[Watched]:
    with (running := Watched(new_state())):
        running.work()
        yield running


@pytest.mark.triton
def test_every_query_names_metrics_of_a_running_service(watched: Watched) -> None:
    scrapes = [
        httpx.get(f"http://{address}/metrics").text for address in (watched.metrics, watched.triton_metrics)
    ]
    names = {"up"}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", "\n".join(scrapes), re.MULTILINE):
        names |= {f"{name}{end}" for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    asked = set(re.findall(r"\b(?:immich_triton|nv|process)_\w+|\bup\b", "\n".join([*QUERIES, *_rules()])))
    assert len(asked) > 20
    assert {name for name in asked - names if not ON_A_GPU.fullmatch(name)} == set()


@pytest.mark.triton
def test_a_scrape_counts_what_was_done_and_keeps_made_up_names_out(watched: Watched) -> None:
    scrape = httpx.get(f"http://{watched.metrics}/metrics").text
    for line in (
        f'requests_total{{model="{NAME}",status="200",task="clip"}}',
        f'requests_total{{model="{NAME}",status="400",task="clip"}}',
        'requests_total{model="unknown",status="422",task="clip"}',
        'requests_total{model="demo-face",status="200",task="facial-recognition"}',
        'model_loaded{device="cpu",model="demo-face",type="detection"} 1.0',
        "ready 1.0",
        'requests_in_flight{stage="triton"} 0.0',
    ):
        assert f"\nimmich_triton_{line}" in scrape, line
    assert "made-up" not in scrape


@pytest.mark.triton
@needs("prometheus")
def test_a_real_prometheus_has_data_for_every_panel_and_rule(watched: Watched, tmp_path: Path) -> None:
    with Prometheus(tmp_path, watched) as prometheus:
        empty = {panel["title"] for panel in PANELS if not ON_A_GPU.search(str(panel["targets"]))}
        end = time.monotonic() + 40
        while empty and time.monotonic() < end:
            watched.work()
            time.sleep(1)
            empty = {title for title in empty if not prometheus.draws(title)}
        assert empty == set()
        for rule in prometheus.get("rules")["groups"][0]["rules"]:
            assert rule["health"] == "ok", rule
            assert rule["state"] == "inactive" or rule["name"] == "ManyBadRequests", rule


class Prometheus:
    """Debian's Prometheus with our config, but for addresses and intervals; a context manager."""

    def __init__(self, folder: Path, watched: Watched) -> None:
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        *_, front = config["scrape_configs"]
        config["scrape_configs"].remove(front)  # tests/e2e/test_front.py looks at its metrics
        for job, address in zip(
            config["scrape_configs"], (watched.metrics, watched.triton_metrics), strict=True
        ):
            job["static_configs"] = [{"targets": [address]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        shutil.copy(FOLDER / "alerts.yml", folder)
        self._folder, self._address = folder, f"127.0.0.1:{free_port()}"

    def __enter__(self) -> "Prometheus":
        self._log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address={self._address}",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        end = time.monotonic() + 20
        while not self._is_ready():
            assert time.monotonic() < end, (self._folder / "log").read_text()
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"http://{self._address}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, what: str, **parameters: str) -> dict[str, Any]:
        answer = httpx.get(f"http://{self._address}/api/v1/{what}", params=parameters).json()
        assert answer["status"] == "success", answer
        data: dict[str, Any] = answer["data"]
        return data

    def draws(self, title: str) -> bool:
        """Whether one of a panel's queries has a number; all of them must be right."""
        (panel,) = (panel for panel in PANELS if panel["title"] == title)
        queries = [
            target["expr"].replace("$__rate_interval", "1m").replace("$__range", "1m")
            for target in panel["targets"]
        ]
        results = [self.get("query", query=query)["result"] for query in queries]
        return any(sample["value"][1] != "NaN" for result in results for sample in result)


def _rules() -> list[str]:
    return [rule["expr"] for rule in RULES]
