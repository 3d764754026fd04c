"""How a CPU runs a batch: in shares side by side, each on one of a session's threads, where its engine has such.

So nothing waits for a thread that has lost its core to another model, as it does where all threads share each operator;
and a share that is alone still gets every thread.
"""

from collections import deque
from concurrent.futures import Future, wait

from backends.onnxruntime import batches
from backends.onnxruntime.options import SHRINKAGE, giving_back, read_parameters, session_options

LARGE_INPUT_BYTES = 4 * 2**20


def open_lanes(path, config, engine):
    """A graph as a CPU runs it.

    Args:
        path: of its file.
        config: of the model, as Triton hands it on.
        engine: that computes it.
    """
    options = session_options(config)
    lanes = options.intra_op_num_threads if config["max_batch_size"] and engine.shares else 1
    outputs = [tensor["name"] for tensor in config["output"]]
    shrinks = "cpu" in read_parameters(config).get(SHRINKAGE, "")
    return Lanes(engine.open(path, options), outputs, lanes, shrinks)


class Lanes:
    """Runs feeds with one session, whatever their shapes.

    Args:
        session: of the graph; it takes any shape.
        outputs: names of what is to come out.
        lanes: how many shares are run side by side.
        shrinks: whether the memory of an unusually large run is given back. To do so after each run costs a seventh
            of its time.
    """

    def __init__(self, session, outputs, lanes, shrinks):
        self.session = session
        self._outputs, self._lanes, self._shrinks = outputs, lanes, shrinks

    def run(self, feeds):
        """The outputs of each feed, in order; all rows of one shape are one batch."""
        shared = batches.shares(feeds, self._lanes)
        answers = iter(self._run_shares([share for shares in shared for share in shares]))
        outputs = [[next(answers) for _ in shares] for shares in shared]
        return [[batches.concatenate(column) for column in zip(*parts, strict=True)] for parts in outputs]

    def _run_shares(self, shares):
        """The outputs of each share. The calling thread and the session's others take one after the other."""
        options = self._run_options(shares)
        if len(shares) == 1:
            return [self.session.run(self._outputs, shares[0], options)]
        answers = [None] * len(shares)
        waiting = deque(enumerate(shares))
        number, share = waiting.popleft()
        beside = [
            _Lane(self.session, self._outputs, options, waiting, answers) for _ in range(1, self._lanes)
        ]
        started = [lane.start() for lane in beside[: len(waiting)]]
        try:
            answers[number] = self.session.run(self._outputs, share, options)
            while waiting:
                number, share = waiting.popleft()
                answers[number] = self.session.run(self._outputs, share, options)
        finally:
            waiting.clear()
            wait(started)
        for lane in started:
            lane.result()
        return answers

    def _run_options(self, shares):
        size = sum(array.nbytes for share in shares for array in share.values())
        if not self._shrinks or size <= LARGE_INPUT_BYTES:
            return None
        return giving_back("cpu:0")


class _Lane:
    """One of a session's threads, which otherwise help the one that calls `run`: takes shares until none is waiting."""

    def __init__(self, session, outputs, options, waiting, answers):
        self._session, self._outputs, self._options = session, outputs, options
        self._waiting, self._answers = waiting, answers
        self._done = Future()

    def start(self):
        self._take_next()
        return self._done

    def _take_next(self):
        try:
            number, share = self._waiting.popleft()
        except IndexError:
            self._done.set_result(None)
            return
        try:
            self._session.run_async(self._outputs, share, self._settle, number, self._options)
        except Exception as error:  # of one share; it is raised where the batch is waited for
            self._done.set_exception(error)

    def _settle(self, outputs, number, error):
        """Called by `run_async` when it is done. `error` is empty, or what went wrong."""
        if error:
            self._done.set_exception(RuntimeError(error))
            return
        self._answers[number] = outputs
        self._take_next()
