"""Which perf_analyzer is run."""

import os
from pathlib import Path

import pytest
import yaml

from adapter.errors import SetupError
from bench.perf_analyzer.tool import SDK_IMAGE, find_tool

NOWHERE = Path("/nowhere")
COMPOSE = Path(__file__).parents[3] / "docker-compose.yml"


def test_the_one_on_the_path_goes_first(tmp_path: Path) -> None:
    assert find_tool(tmp_path, lambda name: f"/usr/bin/{name}", tmp_path) == ["/usr/bin/perf_analyzer"]


def test_the_shared_one_goes_before_the_container(tmp_path: Path) -> None:
    assert find_tool(tmp_path, {"docker": "/usr/bin/docker"}.get, tmp_path) == [str(tmp_path)]


def test_the_container_shares_the_network_and_the_folder_and_writes_as_this_user(tmp_path: Path) -> None:
    command = find_tool(tmp_path, {"docker": "/usr/bin/docker"}.get, NOWHERE)
    assert command == [
        *("/usr/bin/docker", "run", "--rm", "--net", "host", "--user", f"{os.getuid()}:{os.getgid()}"),
        *("--volume", f"{tmp_path}:{tmp_path}", "--workdir", str(tmp_path)),
        *(SDK_IMAGE, "perf_analyzer"),
    ]


def test_the_container_is_of_the_server_that_compose_runs() -> None:
    image = yaml.safe_load(COMPOSE.read_text())["services"]["triton-gpu"]["build"]["args"]["TRITON_IMAGE"]
    assert f"{image.removeprefix('${TRITON_BASE_IMAGE:-').removesuffix('}')}-sdk" == SDK_IMAGE


def test_a_host_with_none_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="pip install perf-analyzer"):
        find_tool(tmp_path, lambda name: None, NOWHERE)
