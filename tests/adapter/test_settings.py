"""Settings come from Immich's variables, and a wrong one is named."""

from pathlib import Path

import pytest

from adapter import environment, settings
from adapter.cli.settings import markdown
from adapter.errors import SetupError
from adapter.settings import VARIABLES, PreparationSettings, Settings


def test_every_setting_is_documented() -> None:
    assert [
        name
        for fields in (Settings.model_fields, PreparationSettings.model_fields)
        for name, field in fields.items()
        if not field.description
    ] == []


def test_immichs_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMMICH_PORT", "4004")
    monkeypatch.setenv("MACHINE_LEARNING_CACHE_FOLDER", "/models")
    monkeypatch.setenv("MACHINE_LEARNING_PRELOAD__CLIP__VISUAL", "ViT-B-32__openai, demo-clip")
    loaded = settings.load()
    assert (loaded.port, loaded.models) == (4004, Path("/models"))
    assert loaded.preload_clip_visual == ("ViT-B-32__openai", "demo-clip")


def test_the_command_line_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMMICH_PORT", "4004")
    assert settings.load(port=5005, host=None).port == 5005


def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMMICH_PORT", "many")
    with pytest.raises(SetupError, match=r"IMMICH_PORT: .*integer.*'many'"):
        settings.load()


def test_all_that_is_wrong_is_named_in_whichever_group_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMMICH_PORT", "many")
    monkeypatch.setenv("IMMICH_TRITON_DEVICE", "tpu")
    with pytest.raises(SetupError, match=r"IMMICH_PORT: .*; IMMICH_TRITON_DEVICE: "):
        settings.load()


def test_models_that_are_to_be_preloaded_are_those_that_requests_ask_for() -> None:
    chosen = settings.load(preload_clip_textual=["m"], preload_ocr_detection=["LATIN__PP-OCRv5_mobile"])
    assert [str(part) for part in chosen.preload] == ["m (clip textual)", "PP-OCRv5_mobile (ocr detection)"]


IMMICHS = """
    ANN ANN_FP16_TURBO ANN_TUNING_LEVEL CACHE_FOLDER DEVICE_IDS HTTP_KEEPALIVE_TIMEOUT_S
    MAX_BATCH_SIZE__FACIAL_RECOGNITION MAX_BATCH_SIZE__OCR MODEL_ARENA MODEL_INTER_OP_THREADS MODEL_INTRA_OP_THREADS
    MODEL_ORGANIZATION MODEL_REVISION MODEL_TTL MODEL_TTL_POLL_S OPENVINO_PRECISION PRELOAD__CLIP__TEXTUAL
    PRELOAD__CLIP__VISUAL PRELOAD__FACIAL_RECOGNITION__DETECTION PRELOAD__FACIAL_RECOGNITION__RECOGNITION
    PRELOAD__OCR__DETECTION PRELOAD__OCR__MAX_RESOLUTION PRELOAD__OCR__RECOGNITION REQUEST_THREADS RKNN RKNN_THREADS
    ROCM_PRECISION WORKERS WORKER_TIMEOUT
""".split()
"""Its variables from 3.1 to 3.3, without MACHINE_LEARNING_."""


@pytest.mark.parametrize("name", IMMICHS)
def test_each_of_immichs_variables_does_something_or_is_told_with_the_reason(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable := f"MACHINE_LEARNING_{name}", "1")
    told = [line for line in environment.without_effect(VARIABLES) if line.startswith(f"{variable} ")]
    assert (variable in VARIABLES) == (not told)
    assert all(" has no effect here: " in line for line in told)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("MACHINE_LEARNING_MODEL_REVISON", "MACHINE_LEARNING_MODEL_REVISION"),
        ("IMMICH_TRITON_CLIPRESIZE", "IMMICH_TRITON_CLIP_RESIZE"),
    ],
)
def test_a_variable_that_nobody_knows_is_told_with_a_near_one(
    name: str, near: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    assert f"{name} is no variable of this service; is {near} meant?" in environment.without_effect(VARIABLES)


def test_a_revision_is_main_or_a_number_and_blank_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("main", "main"), ("v2", "v2"), ("", None)):
        monkeypatch.setenv("MACHINE_LEARNING_MODEL_REVISION", value)
        assert settings.load().model_revision == expected
    monkeypatch.setenv("MACHINE_LEARNING_MODEL_REVISION", "../v2")
    with pytest.raises(SetupError, match="MACHINE_LEARNING_MODEL_REVISION"):
        settings.load()


def test_the_page_of_settings_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text() == markdown(), "run scripts/docs"


def test_secrets_are_not_handed_to_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert "secret" not in environment.child_environment().values()


def test_the_repository_key_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("secret\n")
    assert settings.load(repository_key="other", repository_key_file=file).key == "secret"
    assert settings.load(repository_key="other").key == "other"
    with pytest.raises(SetupError, match="IMMICH_TRITON_REPOSITORY_KEY_FILE cannot be read"):
        _ = settings.load(repository_key_file=tmp_path / "none").key


@pytest.mark.parametrize(
    ("device", "precision"),
    [("cpu", "fp32"), ("gpu", "fp32"), ("gpu", "fp16"), ("intel", "fp16"), ("cpu", "bf16"), ("cpu", "int8")],
)
def test_a_precision_that_makes_its_device_faster_is_taken(device: str, precision: str) -> None:
    chosen = settings.load(preparation={"device": device, "precision": precision}).preparation
    assert (chosen.device, chosen.precision) == (device, precision)


@pytest.mark.parametrize(
    ("device", "precision", "told"),
    [
        ("cpu", "fp16", "fp16 needs a GPU"),
        ("cpu", "tf32", "tf32 needs an NVIDIA GPU"),
        ("intel", "tf32", "tf32 needs an NVIDIA GPU"),
        ("gpu", "int8", "there is fp16"),
        ("intel", "bf16", "there is fp16"),
        ("cpu", "fp8", "'fp32', 'tf32', 'fp16', 'bf16' or 'int8'"),
    ],
)
def test_a_precision_that_does_not_is_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, precision: str, told: str
) -> None:
    monkeypatch.setenv("IMMICH_TRITON_DEVICE", device)
    monkeypatch.setenv("IMMICH_TRITON_PRECISION", precision)
    with pytest.raises(SetupError, match=f"IMMICH_TRITON_PRECISION: .*{told}"):
        settings.load()
