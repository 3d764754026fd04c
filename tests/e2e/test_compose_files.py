"""docker-compose.yml, .env.example and the settings go together."""

import re
from pathlib import Path

from adapter.settings import PreparationSettings, Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
EXAMPLE = dict(re.findall(r"^#([A-Z_0-9]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
# What the containers have as their own, or what only a host without containers needs.
FIXED = {
    "IMMICH_HOST",
    "IMMICH_PORT",
    "IMMICH_TRITON_DEVICE",
    "IMMICH_TRITON_METRICS_LISTEN",  # deploy/monitoring/compose.yml
    "IMMICH_TRITON_METRICS_PORT",
    "IMMICH_TRITON_PORT",
    "IMMICH_TRITON_REPOSITORY_KEY",
    "IMMICH_TRITON_REPOSITORY_KEY_FILE",
    "IMMICH_TRITON_STATE_FOLDER",
    "IMMICH_TRITON_URL",
    "MACHINE_LEARNING_CACHE_FOLDER",
}
FIELDS = [
    *PreparationSettings.model_fields.values(),
    *(field for name, field in Settings.model_fields.items() if name != "preparation"),
]
HUB = {"HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"}


def handed_on() -> set[str]:
    return set(re.findall(r"^ +([A-Z][A-Z_0-9]+):$", COMPOSE, re.MULTILINE))


def test_every_setting_is_handed_on_or_fixed() -> None:
    aliases = {str(field.alias) for field in FIELDS}
    assert aliases - handed_on() - FIXED == set()
    assert handed_on() - aliases == HUB


def test_the_example_names_every_variable_and_nothing_else() -> None:
    interpolated = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE))
    assert EXAMPLE.keys() == interpolated | handed_on()


def test_the_example_chooses_one_of_the_profiles() -> None:
    assert dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)) == {
        "COMPOSE_PROFILES": "cpu"
    }
    assert set(re.findall(r"profiles: \[(\w+)\]", COMPOSE)) == {"cpu", "gpu", "intel", "front"}


def test_the_example_shows_the_defaults() -> None:
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", COMPOSE))
    for field in FIELDS:
        value = field.default
        shown = "" if value in (None, ()) else str(value).lower() if isinstance(value, bool) else str(value)
        defaults.setdefault(str(field.alias), shown)
    for name, value in EXAMPLE.items():
        assert value == defaults.get(name, ""), name
