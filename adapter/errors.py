"""The one tree of errors. Each class knows its HTTP status; one handler in `app.py` turns them into JSON.

ServiceError
├── BadInput             400  the picture, text or combination of tasks can never be answered
├── BodyTooLarge         413
├── InvalidEntries       422  `entries` asks for something that does not exist or is malformed
└── Unavailable          503  outside trouble that may pass: the same request can succeed later
    ├── ModelUnavailable      a known model that cannot be had or loaded now
    │   └── ModelRefused           its files are not fit to be served, until they change
    │       └── ModelAbsent   422  a known model that is published nowhere that was asked
    ├── EngineUnavailable     Triton is down, or was for the whole of the request's deadline
    └── WrongAnswer           the engine's answer was not what a model may say (dimension, not finite)
SetupError                    the host lacks something; ends the command with one sentence
"""


class ServiceError(Exception):
    """Something a client is told about, as `{"detail": message}`."""

    status = 500


class BadInput(ServiceError):
    status = 400


class BodyTooLarge(ServiceError):
    status = 413


class InvalidEntries(ServiceError):
    status = 422


class Unavailable(ServiceError):
    status = 503


class ModelUnavailable(Unavailable):
    pass


class ModelRefused(ModelUnavailable):
    pass


class ModelAbsent(ModelRefused):
    status = 422


class EngineUnavailable(Unavailable):
    pass


class WrongAnswer(Unavailable):
    pass


class SetupError(Exception):
    """The host lacks something that the service needs. The message says what to do."""
