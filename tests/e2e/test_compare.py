"""`immich-triton compare`, on the real service beside itself."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from adapter import cli
from adapter.compare import pictures
from demo.models import ocr
from demo.show.faces import draw_crowd
from tests.support.server import Server


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.skipif(not ocr.is_installed(), reason="the weights of demo-ocr are not installed")
def test_a_service_beside_itself_keeps_every_index_valid(server: Server, tmp_path: Path) -> None:
    Image.fromarray(draw_crowd()).save(tmp_path / "people.png")
    pictures.page(["Harbour Office"], (480, 120), 38).save(tmp_path / "page.png")
    models = ("--clip", "demo-clip", "--faces", "demo-face", "--ocr", "demo-ocr")
    arguments = ["compare", server.url, "--ours", server.url, *models, "--pictures", str(tmp_path)]
    done = CliRunner().invoke(cli.app, [*arguments, "--duration", "0.1"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("the index stays valid") == 3
    assert "failed or were answered otherwise" not in done.stdout
