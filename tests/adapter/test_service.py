"""What cannot be served is said before anything is started."""

import asyncio
from pathlib import Path

import pytest

from adapter import settings
from adapter.errors import SetupError
from adapter.service import open_service


def test_a_gpu_without_nvidias_container_is_refused(tmp_path: Path) -> None:
    async def start() -> None:
        async with open_service(settings.load(preparation={"device": "gpu"}, state_folder=tmp_path)):
            pass

    with pytest.raises(SetupError, match="NVIDIA's Triton container"):
        asyncio.run(start())
