"""How a GPU runs a batch: in runs of few shapes, one after the other, each by a session that sees no other shape.

A convolution keeps the plan of one shape only: a session that is fed shapes in turn makes a new one each time, which
takes 30 to 60 times as long as the run. A transformer needs no such plans; its one session takes any batch.
"""

import gc
import os
import re
from collections import OrderedDict
from functools import partial

import triton_python_backend_utils as pb_utils

from backends.onnxruntime import batches

MOST_SESSIONS = 96
_TOO_LITTLE_MEMORY = re.compile(
    r"allocate memory|Available memory of|out of memory|ALLOC_FAILED|bad allocation"
)
_DEVICE_LOST = re.compile(r"CUDA failure (?!2:)\d+|CUDNN failure|CUBLAS failure")


class OutOfMemory(Exception):
    """The graph cannot be run within the memory that it may take."""


class Plans:
    """Runs feeds with sessions of their own for each shape.

    Args:
        open_session: makes a session; gets the feed whose shape is the only one it will see, or None.
        outputs: names of what is to come out.
        sizes: the numbers of rows that runs are filled up to, ascending; none: one session runs every shape.
        most_rows: rows of one run; 0 where the first axis is the graph's own, and is left as it is.
        giving_back: options of a run after which the arena gives back what is free.
    """

    def __init__(self, open_session, outputs, sizes, most_rows, giving_back=None):
        self._open, self._outputs, self._giving_back = open_session, outputs, giving_back
        self._sizes, self._most_rows = sizes, most_rows
        self._limits = {}  # of rows, where a run of more did not fit
        self._tight = set()  # shapes of runs that did not fit at first
        self._sessions = OrderedDict()  # the one used last comes last

    def run(self, feeds):
        """The outputs of each feed, in order.

        Raises:
            OutOfMemory: a single row is too much.
        """
        return [self._run_feed(feed) if self._most_rows else self._run_once(feed) for feed in feeds]

    def warm(self, feeds):
        """Makes the plans for feeds ahead of the first request, as far as the memory goes. Returns how many.

        Raises:
            OutOfMemory: there is not even enough for the first.
        """
        for number, feed in enumerate(feeds):
            try:
                session = self._sessions.get(self._key(feed)) or self._add_session(feed)
                session.run(self._outputs, feed)
            except Exception as error:
                if not _TOO_LITTLE_MEMORY.search(str(error)):
                    raise
                self._close(self._key(feed))
                if not number:
                    raise OutOfMemory(str(error)) from error
                return number
        return len(feeds)

    def _run_feed(self, feed):
        shape, count, outputs = batches.item_shapes(feed), batches.rows(feed), []
        start = 0
        while start < count:
            taken, size = self._next_piece(shape, count - start)
            try:
                answer = self._run_once(batches.take(feed, start, taken, size), smallest=size == 1)
            except OutOfMemory:
                if size == 1:
                    raise
                self._limits[shape] = size // 2
                continue
            outputs.append([output[:taken] for output in answer])
            start += taken
        return [batches.concatenate(column) for column in zip(*outputs, strict=True)]

    def _next_piece(self, shape, count):
        limit = self._limits.get(shape, self._most_rows)
        if not self._sizes:
            return min(count, limit), min(count, limit)
        return batches.pieces(count, [size for size in self._sizes if size <= limit] or [1])[0]

    def _run_once(self, feed, smallest=True):
        """The outputs of a run, with more room where the memory did not suffice.

        Args:
            smallest: no smaller runs would do in its place.
        """
        failure = ""
        for options in self._attempts(feed, smallest):
            try:
                return self._session(feed).run(self._outputs, feed, options)
            except Exception as error:
                failure = str(error)
                if not _TOO_LITTLE_MEMORY.search(failure):
                    if _DEVICE_LOST.search(failure):
                        _end_process(failure)
                    raise
        self._close(self._key(feed))
        raise OutOfMemory(failure)

    def _attempts(self, feed, smallest):
        """The options of each attempt. In between room is made.

        Sessions for other numbers of the same items are closed for a run of one item alone: they are needed again at
        once, and to open one takes as long as a hundred runs.
        """
        yield None
        closable = partial(self._closable, feed, of_any_items=smallest)
        shapes = _shapes(feed)
        if shapes in self._tight and not smallest and not closable():
            return  # smaller ones it is
        self._tight.add(shapes)
        yield from self._after_giving_back()
        while self._close_half(closable()):
            yield from self._after_giving_back()

    def _after_giving_back(self):
        """Two attempts: the arena gives back what is free when the first ends, whatever comes of it."""
        yield self._giving_back
        yield self._giving_back

    def _session(self, feed):
        """The session for a feed. Where there is no room for a new one, the least used ones are closed."""
        key = self._key(feed)
        while key not in self._sessions:
            try:
                self._add_session(feed)
            except Exception as error:
                too_little = _TOO_LITTLE_MEMORY.search(str(error))
                if not (too_little and self._close_half(self._closable(feed, of_any_items=True))):
                    raise
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def _add_session(self, feed):
        while len(self._sessions) >= MOST_SESSIONS:
            self._close(next(iter(self._sessions)))
        session = self._sessions[self._key(feed)] = self._open(feed if self._sizes else None)
        return session

    def _key(self, feed):
        return _shapes(feed) if self._sizes else ()

    def _closable(self, feed, *, of_any_items):
        """The sessions that a feed can do without, the least used first."""
        items = batches.item_shapes(feed)
        others = [key for key in self._sessions if key != self._key(feed)]
        return [key for key in others if of_any_items or tuple(shape[1:] for shape in key) != items]

    def _close_half(self, keys):
        """Closes the first half of these sessions. Returns whether there was one."""
        for key in keys[: (len(keys) + 1) // 2]:
            self._close(key)
        return bool(keys)

    def _close(self, key):
        self._sessions.pop(key, None)
        gc.collect()  # the failure's traceback may hold it


def _shapes(feed):
    return tuple(array.shape for array in feed.values())


def _end_process(error):
    """A GPU that failed answers nothing more in this process. A new one is started, and its requests are sent again."""
    pb_utils.Logger.log_error(f"the GPU failed, and this process ends: {error}")
    os._exit(1)
