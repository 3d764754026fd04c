"""Many pieces of work: so many at once, in order, and none left behind."""

import asyncio

import pytest

from adapter.tasks import AT_ONCE, gather


async def test_of_thousands_of_pieces_so_many_run_at_once_and_answers_keep_their_order() -> None:
    running, most = 0, 0

    async def piece(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return number

    assert await gather(*map(piece, range(1000))) == list(range(1000))
    assert most == AT_ONCE


async def test_the_first_error_is_raised_as_itself_and_ends_the_others() -> None:
    ended: list[int] = []

    async def piece(number: int) -> None:
        try:
            await asyncio.sleep(0 if number == 1 else 3600)
        finally:
            ended.append(number)
        raise ValueError(number)

    with pytest.raises(ValueError, match=r"^1$"):
        await gather(
            *map(piece, range(2 * AT_ONCE))
        )  # those that had no turn are closed, or Python would warn
    assert sorted(ended) == list(range(AT_ONCE))
