"""The page in a real browser, on the real service behind its secret path."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from tests.support.asking import face_entries, photo
from tests.support.browser import needs_browser, opened_browser
from tests.support.server import NewState, Server

pytestmark = [pytest.mark.triton, needs_browser]

TOKEN = "0123456789abcdef-secret_path"
FACES = 3
PHOTO: FilePayload = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": photo(FACES)}
PATIENCE_MS = 60_000

ARE_OUTLINED = """(canvas, points) => points.map(([x, y]) => {
    const pixels = canvas.getContext("2d").getImageData(x - 6, y - 6, 13, 13).data;
    return [...pixels.keys()].some(at => at % 4 === 0 && String(pixels.slice(at, at + 3)) === "255,209,102");
})"""
"""Whether the colour of outlines is near points of the canvas."""


class Guarded(Server):
    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}"


@pytest.fixture(scope="module")
def guarded(new_state: NewState) -> Iterator[Server]:
    with Guarded(new_state(), IMMICH_TRITON_TOKEN=TOKEN) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture(params=[(390, "dark"), (1280, "light")], ids=["phone, dark", "desk, light"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    context.close()


def test_a_photo_is_sent_and_its_faces_are_outlined_and_the_page_keeps_up(
    guarded: Server, page: Page
) -> None:
    asked, said = list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(f"{guarded.url}/")
    page.get_by_label("Picture", exact=True).set_input_files(PHOTO)
    page.get_by_label("Which of these texts").fill("grey\nyellow")
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_text("% sure")).to_have_count(FACES, timeout=PATIENCE_MS)
    expect(page.get_by_text("cosine")).to_have_count(2, timeout=PATIENCE_MS)
    expect(page.get_by_role("button", name="Look at it")).to_be_enabled(timeout=PATIENCE_MS)
    assert said == [], "the browser complains"
    boxes = [
        face["boundingBox"]
        for face in guarded.predict(face_entries(), PHOTO["buffer"]).json()["facial-recognition"]
    ]
    bottoms = [((box["x1"] + box["x2"]) / 2, box["y2"]) for box in boxes]
    assert page.locator("canvas").evaluate(ARE_OUTLINED, bottoms) == [True] * FACES
    assert page.locator("canvas").evaluate(ARE_OUTLINED, [(640, 600)]) == [False], "where there is none"
    expect(page.locator("#status")).to_contain_text("demo-face", timeout=PATIENCE_MS)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it is wider than the screen"
    assert {url for url in asked if not url.startswith(f"{guarded.url}/")} == set()


def test_without_javascript_the_same_form_is_answered_as_json(guarded: Server, browser: Browser) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{guarded.url}/")
        page.get_by_label("Picture", exact=True).set_input_files(PHOTO)
        page.get_by_label("Ask for").select_option(label="Facial recognition: demo-face")
        page.get_by_role("button", name="Look at it").click(timeout=PATIENCE_MS)
        page.wait_for_url(f"{guarded.url}/predict", timeout=PATIENCE_MS)
        assert page.content().count("boundingBox") == FACES


def test_a_service_that_is_gone_is_told(new_state: NewState, browser: Browser) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        with Server(new_state()) as server:
            page.goto(server.url)
            expect(page.locator("#state")).to_have_text("Ready")
            expect(page.get_by_role("alert")).to_be_hidden()
        expect(page.get_by_role("alert")).to_contain_text("No answer since", timeout=PATIENCE_MS)
