"""`model_repository/`: what is committed is what the generator writes."""

import subprocess

import pytest

from tests.support import defaults


def test_the_committed_folders_are_those_that_the_generator_writes() -> None:
    generated = defaults.generate_committable()
    committed = {
        str(path.relative_to(defaults.COMMITTED)): path.read_text()
        for path in defaults.COMMITTED.rglob("*")
        if path.is_file() and path.suffix not in (".onnx", ".md") and path.name != "tokenizer.json"
    }
    assert committed == generated, "scripts/model-repository writes them anew"


def test_no_weights_and_no_tokenizers_are_committed() -> None:
    if not (defaults.COMMITTED.parent / ".git").exists():
        pytest.skip("this is no git checkout: nothing is committed")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."],
        cwd=defaults.COMMITTED,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {name.rpartition("/")[2] for name in listed} == {"README.md", "config.pbtxt", ".gitkeep"}


def test_the_readme_names_every_public_model() -> None:
    readme = (defaults.COMMITTED / "README.md").read_text()
    for part in defaults.GRAPHS:
        assert f"`{part.name}.{part.type}`" in readme
