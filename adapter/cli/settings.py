"""`immich-triton settings`: every setting as a page, from the classes that hold them."""

import typer
from pydantic_settings import BaseSettings

from adapter.environment import WITHOUT_EFFECT
from adapter.settings import PreparationSettings, Settings

_HEAD = """# Settings

Environment variables; the ones that Immich's own container has mean the same here. The command line's options
(`immich-triton serve --help`) go before them. This page is generated: `scripts/docs`.

## The service
"""
_PREPARATION = """
## How models are prepared

A model is prepared anew, once it is asked for, when one of these has changed.
"""
_IGNORED = """
## Without effect

Variables of Immich's container that have no effect here; one that is set is named in the log at start:

| variable | why |
|---|---|"""


def settings() -> None:
    """Prints every setting as a Markdown table: the source of docs/settings.md."""
    typer.echo(markdown(), nl=False)


def markdown() -> str:
    """docs/settings.md: every variable, its default and what it does."""
    service, preparation = _rows(Settings), _rows(PreparationSettings)
    ignored = [f"| `{name}` | {reason} |" for name, reason in WITHOUT_EFFECT.items()]
    return "\n".join([_HEAD, *service, _PREPARATION, *preparation, _IGNORED, *ignored, ""])


def _rows(settings: type[BaseSettings]) -> list[str]:
    fields = [field for name, field in settings.model_fields.items() if name != "preparation"]
    return [
        "| variable | default | what it does |",
        "|---|---|---|",
        *(f"| `{field.alias}` | {_default(field.default)} | {field.description} |" for field in fields),
    ]


def _default(value: object) -> str:
    if value in (None, (), ""):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
