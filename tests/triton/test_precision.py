"""CLIP in less precision through the real Triton."""

import re
from pathlib import Path

import numpy as np
import pytest

from adapter.preparation.graphs.precision import ENGINES_LIMIT, REDUCTIONS
from adapter.processor import has_bf16, has_plugin
from adapter.setting_types import Precision
from tests.support.server import Server

pytestmark = [pytest.mark.triton, pytest.mark.slow]

NAME = "ViT-T-32__small"


def test_vectors_in_int8_are_near_those_in_fp32_and_the_log_says_how_near(
    server: Server, shared: Path, tmp_path: Path
) -> None:
    image, limit = (shared / "golden/images/astronaut.png").read_bytes(), REDUCTIONS[Precision.INT8].limit
    with Server(tmp_path, shared / "models", IMMICH_TRITON_PRECISION="int8") as reduced:
        full = [server.clip(NAME, image), server.clip(NAME, text="a cat on a sofa")]
        found = [reduced.clip(NAME, image), reduced.clip(NAME, text="a cat on a sofa")]
        noted = re.findall(r"(visual|textual)\S* int8: cosine to fp32 is (0\.\d+)", reduced.log.read_text())
    assert {part for part, cosine in noted if float(cosine) >= limit} == {"visual", "textual"}
    for one, other in zip(full, found, strict=True):
        assert limit <= one @ other / (np.linalg.norm(one) * np.linalg.norm(other)) < 0.99999


@pytest.mark.skipif(not (has_bf16() and has_plugin()), reason="no bfloat16 on this processor, or no OpenVINO")
def test_vectors_in_bf16_are_nearer_still(server: Server, shared: Path, tmp_path: Path) -> None:
    image = (shared / "golden/images/astronaut.png").read_bytes()
    with Server(tmp_path, shared / "models", IMMICH_TRITON_PRECISION="bf16") as reduced:
        one, other = server.clip(NAME, image), reduced.clip(NAME, image)
        assert re.search(r"visual\S* openvino bf16 is .* cosine to fp32 is 0\.9999", reduced.log.read_text())
    assert ENGINES_LIMIT <= one @ other / (np.linalg.norm(one) * np.linalg.norm(other)) < 0.9999999
