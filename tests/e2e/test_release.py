"""What is published, and with which notes."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
JOBS = WORKFLOW["jobs"]
NOTES = """\
# Changelog

## Unreleased

- Not yet.

## 1.2.0, 27 November 2026

### Faster

- Twice.

## 1.2, 1 November 2026

- Once.

## 1.1.0

- No date.
"""


def test_every_action_is_pinned_to_a_commit() -> None:
    used = [step["uses"] for job in JOBS.values() for step in job["steps"] if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)] == []


def test_one_job_may_write_images_one_releases_and_no_other_anything() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert {name: job["permissions"] for name, job in JOBS.items() if "permissions" in job} == {
        "publish": {"contents": "read", "packages": "write"},
        "release": {"contents": "write"},
    }
    assert set(JOBS["publish"]["needs"]) == {"test", "compose-test", "notes"}


def test_an_image_is_published_for_every_runtime_there_is_and_the_front() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    published = JOBS["publish"]["strategy"]["matrix"]["image"]
    assert set(published) == {"cpu", "intel", "front", *extras} - {"demo", "dev", "embedded", "openvino"}


@pytest.mark.parametrize(
    ("version", "notes"),
    [
        ("1.2.0", "# 1.2.0, 27 November 2026\n\n### Faster\n\n- Twice.\n\n"),
        ("1.2", "# 1.2, 1 November 2026\n\n- Once.\n\n"),
        ("1.1.0", None),
        ("1.0.0", None),
    ],
)
def test_a_releases_notes_are_its_dated_part_of_the_changelog(
    version: str, notes: str | None, tmp_path: Path
) -> None:
    done = release_notes(tmp_path, version, f"v{version}")
    assert (done.returncode, done.stdout) == ((1, "") if notes is None else (0, notes))


def test_a_tag_that_is_not_the_packages_version_is_refused(tmp_path: Path) -> None:
    assert "another version" in release_notes(tmp_path, "1.2.1", "v1.2.0").stderr


def release_notes(folder: Path, version: str, tag: str) -> subprocess.CompletedProcess[str]:
    """The script, in a checkout of a version."""
    (folder / "scripts").mkdir()
    script = shutil.copy(ROOT / "scripts/release-notes", folder / "scripts")
    (folder / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')
    (folder / "CHANGELOG.md").write_text(NOTES)
    return subprocess.run([script, tag], capture_output=True, text=True)
