"""The command `immich-triton`: one file a command. What a command needs beside its options it imports when it runs."""

import logging
from typing import NoReturn

import typer

from adapter.cli import compare, doctor, models, predict, serve, settings, version
from adapter.errors import ServiceError, SetupError

log = logging.getLogger(__name__)

app = typer.Typer(
    help="The machine-learning host for Immich, on NVIDIA Triton.", no_args_is_help=True, add_completion=False
)
app.command()(serve.serve)
app.command()(doctor.doctor)
app.command()(predict.predict)
app.command()(compare.compare)
app.add_typer(models.app, name="models")
app.command()(settings.settings)
app.command()(version.version)


def main() -> None:
    """Runs the command; a fault of the host or of a service ends it with one sentence."""
    try:
        app()
    except (SetupError, ServiceError) as error:
        _end(str(error))
    except OSError as error:
        log.debug("here:", exc_info=True)
        _end(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _end(sentence: str) -> NoReturn:
    typer.secho(f"immich-triton: {sentence}", err=True, fg=typer.colors.RED)
    raise SystemExit(1)
