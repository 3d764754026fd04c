"""A graph's file, as sessions of its engine, and the feeds that it is warmed with."""

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

from backends.onnxruntime.options import CPU, read_parameters, session_options


class Graph:
    """Opens sessions of a graph.

    Args:
        path: of the file.
        config: of the model, as Triton hands it on.
        engine: that the config asks for.
    """

    def __init__(self, path, config, engine):
        self._path, self._config, self.engine = path, config, engine
        self._parameters = read_parameters(config)

    def open(self):
        """A session that takes every shape."""
        return self.engine.open(self._path, session_options(self._config))

    def open_for(self, feed):
        """A session for the shapes of this feed alone: those within the graph are worked out ahead."""
        options = session_options(self._config)
        for symbol, value in self._free_dimensions(feed).items():
            options.add_free_dimension_override_by_name(symbol, value)
        return self.engine.open(self._path, options)

    def read_axes(self):
        """Learns the names of the axes that the graph leaves open, for `open_for`."""
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(self._path, options, providers=[CPU])
        self._axes = {tensor.name: tensor.shape for tensor in session.get_inputs()}

    def warm_feeds(self, row_counts):
        """Feeds of zeros, of every shape that the config names.

        Its parameter `warm` says what the -1 of `dims` are: sets such as `736x992`, apart by spaces.

        Args:
            row_counts: of the first axis; none where `dims` are all there is.
        """
        sets = [[int(size) for size in part.split("x")] for part in self._parameters.get("warm", "").split()]
        if any(-1 in _dims(tensor) for tensor in self._config["input"]) and not sets:
            return []
        return [self._zeros(rows, sizes) for rows in (row_counts or [None]) for sizes in (sets or [[]])]

    def _free_dimensions(self, feed):
        """Name → size of each axis that is open in the graph, and that has one size in this feed."""
        found = [
            (name, size)
            for tensor, array in feed.items()
            for name, size in zip(self._axes[tensor], array.shape, strict=True)
            if isinstance(name, str)
        ]
        return {name: size for name, size in found if {s for n, s in found if n == name} == {size}}

    def _zeros(self, rows, sizes):
        feed = {}
        for tensor in self._config["input"]:
            filling = iter(sizes)
            shape = [next(filling) if size == -1 else size for size in _dims(tensor)]
            kind = pb_utils.triton_string_to_numpy(tensor["data_type"])
            feed[tensor["name"]] = np.zeros(shape if rows is None else [rows, *shape], kind)
        return feed


def _dims(tensor):
    return [int(size) for size in tensor["dims"]]
