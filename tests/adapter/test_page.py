"""The page at `/`: who gets it, what it tells, and that it believes nothing and fetches nothing."""

import base64
import hashlib
import json
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from adapter.admission import BodyMemory
from adapter.app import create_app
from adapter.deadlines import Deadlines
from adapter.engine import Engine
from adapter.errors import ModelRefused
from adapter.health import Health
from adapter.metrics import BUCKETS_S, Progress, Stage
from adapter.page.page import choices
from adapter.page.status import Requests, duration
from adapter.preparation.door import Preparation, Prepared
from adapter.protocol import Part, TaskName, TypeName
from adapter.registry import Registry, Standing
from adapter.service import Service
from adapter.settings import Settings
from adapter.triton import Triton

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
EVIL = "\"'><script>alert(1)</script>"
TOKEN = "0123456789abcdef"

VISUAL = Part(TaskName.CLIP, TypeName.VISUAL, "ViT-B-32__openai")
TEXTUAL = Part(TaskName.CLIP, TypeName.TEXTUAL, "ViT-B-32__openai")
DETECTION = Part(TaskName.FACES, TypeName.DETECTION, "buffalo_l")


def loaded(part: Part, device: str) -> Prepared:
    return Prepared(f"{part.name}.{part.type}", (), 8, {}, device=device)


class Scene:
    """A service in some state: what it is made of, to be changed before the page is asked for."""

    def __init__(self, **settings: Any) -> None:
        self.standings: list[Standing] = []
        self.downloads: dict[Part, Any] = {}
        self.names: dict[TaskName, list[str]] = {task: [] for task in TaskName}
        self.trouble: str | None = None
        self.service = Service(
            settings=Settings(**settings),
            preparation=cast(
                "Preparation", SimpleNamespace(names=self.names.get, downloads=lambda: self.downloads)
            ),
            triton=cast("Triton", None),
            registry=cast("Registry", SimpleNamespace(standings=lambda: self.standings)),
            engine=cast("Engine", None),
            health=cast("Health", self),
            memory=BodyMemory(200_000_000),
            deadlines=Deadlines(280),
        )

    def client(self, address: str = "192.0.2.1") -> TestClient:
        return TestClient(create_app(self.service), client=(address, 50000))

    def page(self) -> str:
        answer = self.client().get("/", headers=BROWSER)
        assert answer.status_code == 200
        return answer.text

    def words(self) -> str:
        """What a reader sees of it."""
        visible = re.sub(r"<(style|script|title)>.*?</\1>", " ", self.page(), flags=re.DOTALL)
        return " ".join(re.sub(r"<[^>]*>", " ", visible).split())


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
def test_whoever_is_no_browser_gets_immichs_own_answer(scene: Scene, accept: str | None) -> None:
    client = scene.client()
    client.headers.pop("accept")
    answer = client.get("/", headers={"accept": accept} if accept else {})
    assert (answer.content, answer.headers["content-type"]) == (
        b'{"message":"Immich ML"}',
        "application/json",
    )


def test_models_are_shown_with_what_they_run_on_and_what_waits_for_them(scene: Scene) -> None:
    scene.standings = [
        Standing(VISUAL, 3, 0.1, loaded(VISUAL, "gpu")),
        Standing(TEXTUAL, 0, 130, loaded(TEXTUAL, "cpu")),
        Standing(DETECTION, 5, 14),
        Standing(Part(TaskName.OCR, TypeName.DETECTION, "own"), 0, 1, fault=ModelRefused("own is not fit.")),
    ]
    scene.names[TaskName.OCR] = ["PP-OCRv5_mobile"]
    words = scene.words()
    assert "ViT-B-32__openai Smart search visual GPU 3 under way textual CPU idle for 2 min" in words
    assert "buffalo_l Facial recognition detection loading for 14 s, 5 waiting" in words
    assert "own Text recognition detection refused own is not fit." in words
    assert "Text recognition PP-OCRv5_mobile" in words


def test_downloads_are_shown_with_how_far_they_are(scene: Scene) -> None:
    scene.downloads = {
        VISUAL: SimpleNamespace(arrived=30e6, total=120e6),
        TEXTUAL: SimpleNamespace(arrived=0, total=None),
    }
    words = scene.words()
    assert "Fetching ViT-B-32__openai (clip visual) 30 of 120 MB" in words
    assert "Fetching ViT-B-32__openai (clip textual) 0 MB" in words


def test_requests_are_shown_by_task_and_by_what_they_wait_for(scene: Scene) -> None:
    metrics = scene.service.metrics
    for number in range(20):
        progress = Progress(metrics.in_flight)
        progress.stages_s = {Stage.TRITON: 0.04 if number < 19 else 400}
        metrics.answered([DETECTION], 200 if number < 19 else 503, progress)
    metrics.answered([], 422, Progress(metrics.in_flight))
    Progress(metrics.in_flight).enter(Stage.WAIT)
    words = scene.words()
    assert "1 wait for memory 0 arriving 0 at the models 0 / 200 MB held" in words
    assert "Smart search 0 0 – – Facial recognition 19 1 50 ms 50 ms Text recognition 0 0 – –" in words
    assert "Not understood 0 1" in words


def test_a_time_is_the_bound_that_is_known_to_hold() -> None:
    counted = {0.002: 0, 0.5: 94, 1.0: 95, BUCKETS_S[-1]: 99, float("inf"): 100}
    requests = Requests("", within=counted)
    assert [requests.took(share) for share in (0.5, 0.94, 0.95, 0.99, 1)] == [
        "500 ms",
        "500 ms",
        "1 s",
        "280 s",
        "over 280 s",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (3 * 86400, "3 days")]
)
def test_durations_are_as_coarse_as_they_may_be(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_trouble_and_the_last_faults_are_told_with_their_reasons(scene: Scene) -> None:
    assert "Ready" in scene.words()
    assert "None since the start." in scene.words()
    scene.trouble = "the inference engine is down"
    for _ in range(2):
        scene.service.faults.add([DETECTION], 400, "The picture is cut off.")
    words = scene.words()
    assert "Not ready: the inference engine is down" in words
    assert "400 The picture is cut off. 0 s ago, 2 times, buffalo_l (facial-recognition detection)" in words


def test_what_clients_and_files_are_called_stays_text(scene: Scene) -> None:
    part = Part(TaskName.CLIP, TypeName.VISUAL, EVIL)
    scene.names[TaskName.CLIP] = [EVIL]
    scene.standings = [Standing(part, 0, 1, fault=ModelRefused(EVIL))]
    scene.downloads = {part: SimpleNamespace(arrived=0, total=None)}
    scene.service.faults.add([part], 422, EVIL)
    scene.trouble = EVIL
    page = scene.page()
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "\"'>" not in page


def test_the_page_runs_its_own_script_and_style_and_asks_nobody_else(scene: Scene) -> None:
    scene.names[TaskName.CLIP] = ["m"]
    answer = scene.client().get("/", headers=BROWSER)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    for kind in ("style", "script"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    addresses = re.findall(r'(?:src|href|action)="([^"]*)"', answer.text)
    assert [address for address in addresses if not address.startswith(("data:", "#"))] == ["predict"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "address", "status"),
    [
        (f"/{TOKEN}/", "192.0.2.1", 200),
        (f"/{TOKEN}/", "203.0.113.1", 403),
        ("/", "192.0.2.1", 404),
        (f"/{TOKEN}", "192.0.2.1", 404),
        (f"/{TOKEN[:-1]}/", "192.0.2.1", 404),
        ("/", "203.0.113.1", 403),
    ],
)
def test_no_outsider_sees_the_page(path: str, address: str, status: int) -> None:
    scene = Scene(token=TOKEN, allowed_networks="192.0.2.0/24")
    answer = scene.client(address).get(path, headers=BROWSER)
    assert answer.status_code == status
    assert ("immich-triton" in answer.text) == (status == 200)


def test_a_picture_can_be_sent_to_all_tasks_or_to_one_model() -> None:
    names = {TaskName.CLIP: ["a", "b"], TaskName.FACES: [], TaskName.OCR: ["c"]}
    clip = {name: {"clip": {"visual": {"modelName": name}}} for name in "ab"}
    ocr = {"ocr": {"detection": {"modelName": "c"}, "recognition": {"modelName": "c"}}}
    assert {title: json.loads(entries) for title, entries in choices(names).items()} == {
        "Everything: a, c": {**clip["a"], **ocr},
        "Smart search: a": clip["a"],
        "Smart search: b": clip["b"],
        "Text recognition: c": ocr,
    }
    assert choices({TaskName.CLIP: []}) == {}
