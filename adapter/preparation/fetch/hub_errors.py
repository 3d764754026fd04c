"""Why a file cannot be had: the errors of fetching, and what other libraries' errors mean in one sentence.

FetchError          the reason, and what to do
├── Absent          the source does not have it
├── CorruptFile     what arrived is not what its source says, twice
├── OutOfReach      the same may succeed later: a network, a server, a limit of requests
└── Stopped         this process is being stopped
"""

import time
from email.utils import parsedate_to_datetime

import httpx2
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]  # exported at run time

from adapter.environment import command


class FetchError(Exception):
    """The message is one or two sentences for the user."""


class Absent(FetchError):
    pass


class CorruptFile(FetchError):
    pass


class OutOfReach(FetchError):
    pass


class Stopped(FetchError):
    pass


FOREIGN = (httpx2.HTTPError, httpx2.InvalidURL, OfflineModeIsEnabled)  # HfHubHTTPError is the first one too
"""What `huggingface_hub` and its HTTP client raise when something is wrong outside."""
GARBAGE = (ValueError, TypeError, KeyError, AttributeError)
"""What they raise over an answer that is not a hub's: a page of a mirror, of a login, of a provider."""

ABSENT = (RepositoryNotFoundError, RevisionNotFoundError)
_PASSING = {408, 425, 429, 500, 502, 503, 504}


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _PASSING
    return isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.UnsupportedProtocol)


def asked_wait_s(error: Exception) -> float | None:
    """How long the server asks to be left alone: by `RateLimit`, or by `Retry-After` as seconds or date."""
    if not isinstance(error, HfHubHTTPError):
        return None
    headers = error.response.headers
    limit = parse_ratelimit_headers(headers)
    if limit and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    return _seconds(headers.get("Retry-After", ""))


def explain(error: Exception, endpoint: str) -> str:
    """What an error of `FOREIGN` means, and what can be done."""
    match error:
        case OfflineModeIsEnabled():
            return (
                "HF_HUB_OFFLINE is set, so nothing is fetched. Fill a cache folder on a host with network, by "
                "`immich-triton models pull`, and copy it here."
            )
        case GatedRepoError():
            return f"{_url(error)} is open to approved users only: set HF_TOKEN to the token of one."
        case RepositoryNotFoundError():
            return f"{endpoint} has no such repository, or none that HF_TOKEN may read ({_url(error)})."
        case RevisionNotFoundError():
            name = _url(error).rpartition("/")[2]
            return (
                f"{endpoint} has no revision {name!r} of this model. If one was pinned here that is gone, "
                f"`{command()} models remove` unpins it."
            )
        case HfHubHTTPError():
            return _explain_status(error)
        case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
            return f"{endpoint!r} is not a URL: mend HF_ENDPOINT."
        case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.ProxyError():
            return f"{_host(error, endpoint)} cannot be reached ({_name(error)}). {_NETWORK}"
        case httpx2.TimeoutException():
            return f"{_host(error, endpoint)} does not answer in time ({_name(error)}). {_NETWORK}"
        case httpx2.HTTPError():
            return f"the connection to {_host(error, endpoint)} broke ({_name(error)}). {_NETWORK}"
    return (
        f"{endpoint} does not answer like a hub ({_name(error)}). Check HF_ENDPOINT, and what stands between."
    )


_NETWORK = "Check the network and proxy, or set HF_ENDPOINT to a mirror. What has arrived is kept."


def _explain_status(error: HfHubHTTPError) -> str:
    status, url = error.response.status_code, _url(error)
    match status:
        case 401 | 403:
            return f"{url} refuses access ({status}). Check HF_TOKEN."
        case 404:
            return f"{url} does not exist (404)."
        case 429:
            return (
                "it has been asked too often (429). Try later, or set HF_TOKEN, which allows more requests."
            )
    advice = "Try later: what has arrived is kept." if is_passing(error) else "Check HF_ENDPOINT."
    return f"{url} answers {status}. {advice}"


def _url(error: HfHubHTTPError) -> str:
    return str(error.response.url.copy_with(query=None))  # a CDN's query holds a signature


def _host(error: httpx2.HTTPError, endpoint: str) -> str:
    try:
        return error.request.url.host
    except RuntimeError:  # raised before there was a request
        return endpoint


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _seconds(retry_after: str) -> float | None:
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
