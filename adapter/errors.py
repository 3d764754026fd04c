"""The one tree of errors. Each class knows its HTTP status; one handler in `app.py` turns them into JSON.

ServiceError
├── BadInput             400  the picture, text or combination of tasks can never be answered
├── BodyStopped          408  the rest of the body does not come
├── BodyTooLarge         413
├── InvalidEntries       422  `entries` asks for something that does not exist or is malformed
└── Unavailable          503  the same request can succeed later
    ├── ModelUnavailable      a known model that cannot be had or loaded now; this alone passes by itself, so that
    │   │                     requests are held for it (`passing`)
    │   └── ModelRefused           not before somebody changes something: its files, a setting, a permission
    │       └── ModelAbsent   422  a known model that is published nowhere that was asked
    ├── EngineUnavailable     Triton failed in a way that another try would not mend, or the request's time is over
    └── WrongAnswer           the engine's answer was not what a model may say (dimension, not finite)
SetupError                    the host lacks something; ends the command with one sentence
"""

import errno


class ServiceError(Exception):
    """Something a client is told about, as `{"detail": message}`."""

    status = 500
    passing = False


class BadInput(ServiceError):
    status = 400


class BodyStopped(ServiceError):
    status = 408


class BodyTooLarge(ServiceError):
    status = 413


class InvalidEntries(ServiceError):
    status = 422


class Unavailable(ServiceError):
    status = 503


class ModelUnavailable(Unavailable):
    passing = True


class ModelRefused(ModelUnavailable):
    passing = False


class ModelAbsent(ModelRefused):
    status = 422


class EngineUnavailable(Unavailable):
    pass


class WrongAnswer(Unavailable):
    pass


class SetupError(Exception):
    """The host lacks something that the service needs. The message says what to do."""


LASTING = (errno.EROFS, errno.EACCES, errno.EPERM)
"""What a disk says of what does not pass by itself."""


def of_disk(message: str, error: OSError) -> ModelUnavailable:
    """What a failure of a disk means for a model: it passes, or not."""
    return (ModelRefused if error.errno in LASTING else ModelUnavailable)(message)
