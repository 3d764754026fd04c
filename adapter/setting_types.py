"""The types of settings: how the text of a variable becomes a value, and what it may be."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork, SecretStr
from pydantic_settings import NoDecode


def _split(value: object) -> object:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


def address_and_port(value: object) -> object:
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return (host.strip("[]"), port) if value and isinstance(value, str) else value or None


def _url_safe(token: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[A-Za-z0-9_-]{16,}", token.get_secret_value()):
        raise ValueError(
            "a token has at least 16 letters, digits, - and _; such as `openssl rand -hex 24` gives"
        )
    return token


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_split)]
Token = Annotated[SecretStr, AfterValidator(_url_safe)]
Host = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=0, le=65535)]
BLANK_IS_NONE = BeforeValidator(lambda value: value or None)
"""`VARIABLE=` in a file of variables means that it is not set."""
