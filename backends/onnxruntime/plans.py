"""How a GPU runs a batch: in runs of few shapes, two at a time, each by a session that sees no other shape.

A convolution keeps the plan of one shape only: a session that is fed shapes in turn makes a new one each time, which
takes 30 to 60 times as long as the run. A transformer needs no such plans; its one session takes any batch.
"""

import gc
import os
import re
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Lock, Semaphore

import triton_python_backend_utils as pb_utils

from backends.onnxruntime import batches

AT_A_TIME = 2
"""Runs: while one waits for the GPU, the other copies its tensors and starts its kernels."""
MOST_SESSIONS = 96
ATTEMPTS_ALONE = 3
"""Of a run that does not fit when no other session is left: after the second the arena has given back what is free."""
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
        self._sessions = OrderedDict()  # the one used last comes last
        self._threads, self._room = ThreadPoolExecutor(AT_A_TIME), Semaphore(AT_A_TIME)
        self._opening, self._alone = Lock(), Lock()
        self._side_by_side = True  # until the memory did not suffice

    def run(self, feeds):
        """The outputs of each feed, in order.

        Raises:
            OutOfMemory: a single row is too much.
        """
        if not self._most_rows:
            return [self._run_once(feed) for feed in feeds]
        cut = [batches.cut(feed, max(self._sizes, default=self._most_rows)) for feed in feeds]
        answers = iter(self._run_feeds([part for parts in cut for part in parts]))
        return [_together([next(answers) for _ in parts]) for parts in cut]

    def warm(self, feeds):
        """Makes the plans for feeds ahead of the first request, as far as the memory goes. Returns how many.

        Raises:
            OutOfMemory: there is not even enough for the first.
        """
        for number, feed in enumerate(feeds):
            try:
                self._session(feed).run(self._outputs, feed)
            except Exception as error:
                if not _TOO_LITTLE_MEMORY.search(str(error)):
                    raise
                self._close(self._key(feed))
                if not number:
                    raise OutOfMemory(str(error)) from error
                return number
        return len(feeds)

    def _run_feeds(self, feeds):
        """The outputs of feeds of one run each, or of a few where they do not fit."""
        if len(feeds) == 1 or not self._side_by_side:
            return [self._run_feed(feed) for feed in feeds]
        running = [self._threads.submit(self._run_feed, feed) for feed in feeds]
        wait(running)  # all of them, whatever comes of one: they read what the requests hold
        return [one.result() for one in running]

    def _run_feed(self, feed):
        shape, count, outputs = batches.item_shapes(feed), batches.rows(feed), []
        start = 0
        while start < count:
            taken, size = self._next_piece(shape, count - start)
            try:
                answer = self._run_once(batches.take(feed, start, taken, size))
            except OutOfMemory:
                if size == 1:
                    raise
                self._limits[shape] = size // 2
                continue
            outputs.append([output[:taken] for output in answer])
            start += taken
        return _together(outputs)

    def _next_piece(self, shape, count):
        limit = self._limits.get(shape, self._most_rows)
        if not self._sizes:
            return min(count, limit), min(count, limit)
        return batches.pieces(count, [size for size in self._sizes if size <= limit] or [1])[0]

    def _run_once(self, feed):
        """The outputs of a run; where the memory does not suffice beside another, of one alone."""
        with self._room:
            try:
                return self._run(feed)
            except OutOfMemory:
                self._side_by_side = False
        with self._alone, self._room, self._room:
            return self._run_alone(feed)

    def _run_alone(self, feed):
        """The outputs of a run. Where memory does not suffice, sessions of other shapes are closed for it."""
        attempts, options = ATTEMPTS_ALONE, None
        while True:
            try:
                return self._run(feed, options)
            except OutOfMemory as error:
                failure = str(error)
            options = self._giving_back
            if not self._close_least_used(self._key(feed)):
                attempts -= 1
                if not attempts:
                    self._close(self._key(feed))
                    raise OutOfMemory(failure)

    def _run(self, feed, options=None):
        try:
            with self._opening:
                session = self._session(feed)
            return session.run(self._outputs, feed, options)
        except Exception as error:
            failure = str(error)
            if _TOO_LITTLE_MEMORY.search(failure):
                raise OutOfMemory(failure) from None
            if _DEVICE_LOST.search(failure):
                _end_process(failure)
            raise

    def _session(self, feed):
        key = self._key(feed)
        if key not in self._sessions:
            while len(self._sessions) >= MOST_SESSIONS:
                self._close(next(iter(self._sessions)))
            self._sessions[key] = self._open(feed if self._sizes else None)
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def _key(self, feed):
        return tuple(array.shape for array in feed.values()) if self._sizes else ()

    def _close_least_used(self, spared):
        """Closes half of the sessions of other shapes. Returns whether there was one."""
        others = [key for key in self._sessions if key != spared]
        for key in others[: (len(others) + 1) // 2]:
            self._close(key)
        return bool(others)

    def _close(self, key):
        self._sessions.pop(key, None)
        gc.collect()  # the failure's traceback may hold it


def _together(parts):
    """The outputs of several runs as those of one."""
    return [batches.concatenate(column) for column in zip(*parts, strict=True)]


def _end_process(error):
    """A GPU that failed answers nothing more in this process. A new one is started, and its requests are sent again."""
    pb_utils.Logger.log_error(f"the GPU failed, and this process ends: {error}")
    os._exit(1)
