"""Pure functions on pictures, arrays and text: everything that decides a vector, and nothing else."""


class InputError(ValueError):
    """The client's picture, text or option cannot be used. The message says why, and is shown to the client."""
