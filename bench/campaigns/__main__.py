"""`scripts/campaign`: the service, with small models, under what it must survive."""

import tempfile
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from adapter.errors import SetupError
from bench.campaigns import fuzz, kill, rude, soak
from bench.campaigns.hosts import one_host
from bench.campaigns.report import Report
from demo.child_service import ChildService

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Requests = Annotated[int, typer.Option(help="How many.", min=100)]
Seed = Annotated[int, typer.Option(help="Of what is sent and done; printed with the figures.")]
Folder = Annotated[Path, typer.Option(help="For what is worth a look afterwards.", file_okay=False)]


@app.command("kill")
def kill_command(requests: Requests = 10_000, seed: Seed = 0, output: Folder = Path("out")) -> None:
    """Three hosts behind HAProxy, of which something is killed every few seconds; their logs are kept."""

    async def campaign(prepared: Path) -> Report:
        folder = Path(tempfile.mkdtemp(prefix="kill-", dir=_made(output)))
        return await kill.run(folder, prepared, requests, seed, say=_say)

    _run(campaign)


@app.command("soak")
def soak_command(requests: Requests = 10_000, seed: Seed = 0) -> None:
    """Pictures of every form, broken ones too, while memory and other resources of all processes are watched."""
    _on_one_host(lambda service: soak.run(service, requests, seed, say=_say))


@app.command("fuzz")
def fuzz_command(requests: Requests = 100_000, seed: Seed = 0, output: Folder = Path("out")) -> None:
    """Mutated requests; those that are answered as they should not be are kept."""
    folder = _made(output / "fuzz")
    _on_one_host(lambda service: fuzz.run(service, folder, requests, seed, _say))


@app.command("rude")
def rude_command(requests: Requests = 5000) -> None:
    """Honest requests beside more than a thousand slow and rude clients."""
    _on_one_host(lambda service: rude.run(service, requests))


def _on_one_host(campaign: Callable[[ChildService], Awaitable[Report]]) -> None:
    async def with_host(state: Path) -> Report:
        async with one_host(state) as service:
            return await campaign(service)

    _run(with_host)


def _run(campaign: Callable[[Path], Awaitable[Report]]) -> None:
    """Runs a campaign with a state folder in which the models are prepared, and shows what it found."""

    async def with_folder() -> Report:
        with tempfile.TemporaryDirectory(prefix="campaign-") as state:
            async with one_host(Path(state)):
                pass
            return await campaign(Path(state))

    report = uvloop.run(with_folder())
    typer.echo(report)
    raise typer.Exit(bool(report.faults))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _say(words: str) -> None:
    typer.echo(f"{datetime.now():%H:%M:%S} {words}", err=True)


if __name__ == "__main__":
    try:
        app()
    except SetupError as error:
        raise SystemExit(f"campaign: {error}") from None
