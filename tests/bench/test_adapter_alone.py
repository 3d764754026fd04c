"""The adapter before a Triton that computes nothing; what it takes is measured elsewhere, on a quiet machine."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from adapter.embedded import free_port
from adapter.errors import SetupError
from adapter.triton import Triton, bytes_tensor
from bench import fake_triton
from bench.adapter_alone import Cost, cost, measure, right_answer

RIGHT = json.dumps(right_answer())


def answers(statuses: Mapping[str, int], *texts: str) -> dict[str, Any]:
    return {
        "statuses": statuses,
        "texts": dict.fromkeys(texts, 1),
        "latencies_s": [0.02, 0.02],
        "duration_s": 0.5,
        "cpu_s": 0.1,
    }


@pytest.mark.slow
def test_every_request_is_answered_rightly() -> None:
    found = asyncio.run(measure(0.5, 150_000, 4, warm_up_s=0.1))
    assert found.requests > 4
    assert 0 < found.adapter_share < 1.1


def test_the_fake_speaks_as_triton_does() -> None:
    async def ask() -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: fake_triton.FakeTriton(fake_triton.inference_answer(512)),
            "127.0.0.1",
            port := free_port(),
        )
        triton = Triton(f"http://127.0.0.1:{port}", 5)
        await triton.load("m")
        for picture in (b"a", bytes(2**20)):
            outputs = await triton.infer("m", {"image": bytes_tensor(picture)})
            np.testing.assert_array_equal(outputs["embedding"], fake_triton.embedding(512))
            np.testing.assert_array_equal(outputs["image_size"], fake_triton.IMAGE_SIZE)
        assert await triton.is_up()
        await triton.close()
        server.close()

    asyncio.run(ask())


def test_the_cost_is_of_one_request() -> None:
    found = cost(answers({"200": 2}, RIGHT), adapter_s=0.4, fake_s=0.05, memory_mb=170)
    assert found == Cost(2, 4.0, 20.0, 20.0, 200.0, 0.8, 0.2, 0.1, 170)


@pytest.mark.parametrize(
    "wrong",
    [
        answers({"200": 1, "503": 1}, RIGHT),
        answers({"200": 1, "0": 1}, RIGHT),
        answers({"200": 2}, RIGHT, RIGHT.replace("1440", "1441")),
        answers({}),
    ],
)
def test_a_wrong_answer_ends_the_measuring(wrong: dict[str, Any]) -> None:
    with pytest.raises(SetupError, match="answered wrongly"):
        cost(wrong, 1, 1, 1)
