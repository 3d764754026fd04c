"""What a hub asks for when it has been asked too often."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError

from adapter.preparation.fetch.hub_errors import asked_wait_s


def too_many(**headers: str) -> HfHubHTTPError:
    request = httpx2.Request("GET", "https://huggingface.co/api/models")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HfHubHTTPError("429", response=httpx2.Response(429, headers=named, request=request))


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry_after": "12"}, 12),
        ({"ratelimit": '"api";r=0;t=55'}, 55),
        ({"ratelimit": '"api";r=0;t=55', "retry_after": "12"}, 55),
        ({"ratelimit": '"api";r=3;t=55'}, None),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_the_wait_is_what_the_server_asks_for(headers: dict[str, str], wait_s: float | None) -> None:
    assert asked_wait_s(too_many(**headers)) == wait_s


def test_a_date_is_a_wait_until_then() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert asked_wait_s(too_many(retry_after=then)) == pytest.approx(3600, abs=60)
