"""`immich-triton compare`, on the real service beside itself."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from adapter import cli
from adapter.compare import pictures
from demo.models import ocr
from demo.models.faces import draw_face
from tests.support.server import Server


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.skipif(not ocr.is_installed(), reason="the weights of demo-ocr are not installed")
def test_a_service_beside_itself_keeps_every_index_valid(server: Server, tmp_path: Path) -> None:
    canvas = np.array(
        pictures.page(["Harbour Office"], (640, 200), 38)
    )  # small, so that it does not take long
    draw_face(canvas, (500, 100), 120, identity=3)
    Image.fromarray(canvas).save(tmp_path / "letter.png")
    models = ("--clip", "demo-clip", "--faces", "demo-face", "--ocr", "demo-ocr")
    arguments = ["compare", server.url, "--ours", server.url, *models, "--pictures", str(tmp_path)]
    done = CliRunner().invoke(cli.app, [*arguments, "--duration", "0.1"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "no line of 1 differs" in done.stdout
    assert done.stdout.count("the index stays valid") == 3
    assert "failed or were answered otherwise" not in done.stdout
