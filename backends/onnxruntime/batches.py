"""Feeds of requests as batches: which may be joined, how many rows a run takes, and whose rows came out.

A feed is the inputs of one run: name → array, whose first axis is the rows.
"""

import numpy as np


def rows(feed):
    return len(next(iter(feed.values())))


def item_shapes(feed):
    """The shapes of the inputs without their rows."""
    return tuple(array.shape[1:] for array in feed.values())


def group(feeds):
    """Which feeds can be joined: lists of their numbers, a list for each shape of items."""
    groups = {}
    for number, feed in enumerate(feeds):
        groups.setdefault(item_shapes(feed), []).append(number)
    return list(groups.values())


def join(feeds):
    """Feeds of one shape as one, their rows in order."""
    return {name: concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def take(feed, start, count, size):
    """Some rows of a feed, filled up with zeros to a size."""
    return {name: _fill(array[start : start + count], size) for name, array in feed.items()}


def give_back(outputs, counts):
    """The outputs of joined feeds, by feed: `counts` are their rows."""
    ends = np.cumsum(counts)[:-1]
    return list(zip(*(np.split(output, ends) for output in outputs), strict=True))


def pieces(count, sizes):
    """How many rows each run takes, and to which size it is filled up.

    A run is filled up where that is less than half of it; else the largest size that is full goes first.

    Args:
        count: rows in all.
        sizes: of runs, ascending.
    """
    found = []
    while count:
        full = max((size for size in sizes if size <= count), default=0)
        larger = min((size for size in sizes if size >= count), default=0)
        size = larger if larger and (not full or 2 * count >= larger) else full
        found.append((min(count, size), size))
        count -= found[-1][0]
    return found


def shares(feeds, lanes):
    """Each feed in parts that are to run side by side: `lanes` in all, more for a feed with more in it."""
    total = sum(map(_volume, feeds))
    return [_split(feed, round(lanes * _volume(feed) / total)) if total else [feed] for feed in feeds]


def concatenate(arrays):
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _split(feed, parts):
    parts = min(parts, rows(feed))
    if parts < 2:
        return [feed]
    columns = zip(*(np.array_split(array, parts) for array in feed.values()), strict=True)
    return [dict(zip(feed, column, strict=True)) for column in columns]


def _volume(feed):
    return sum(array.nbytes for array in feed.values())


def _fill(array, size):
    if len(array) == size:
        return array
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])
