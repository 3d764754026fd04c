"""`immich-triton settings`: every setting as a page, from the class that holds them."""

from adapter.settings import WITHOUT_EFFECT, Settings

_HEAD = """# Settings

Environment variables; the ones that Immich's own container has mean the same here. The command line's options
(`immich-triton serve --help`) go before them. This page is generated: `scripts/docs`.

| variable | default | what it does |
|---|---|---|"""
_IGNORED = """
Variables of Immich's container that have no effect here; one that is set is named in the log at start:

| variable | why |
|---|---|"""


def markdown() -> str:
    """docs/settings.md: every variable, its default and what it does."""
    rows = [
        f"| `{field.alias}` | {_default(field.default)} | {field.description} |"
        for field in Settings.model_fields.values()
    ]
    ignored = [f"| `{name}` | {reason} |" for name, reason in WITHOUT_EFFECT.items()]
    return "\n".join([_HEAD, *rows, _IGNORED, *ignored, ""])


def _default(value: object) -> str:
    if value in (None, (), ""):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
