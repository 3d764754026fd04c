"""The commands `immich-triton models ...`."""

import asyncio
import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from adapter import logs, settings
from adapter.commands import models
from adapter.preparation.door import Preparation
from adapter.protocol import Part, TaskName, canonical
from adapter.settings import Settings
from bench.standins import build_standins

app = typer.Typer(help="The models in the cache folder, and what is made of them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A model by Immich's name, such as ViT-B-32__openai.")]
Task = Annotated[TaskName | None, typer.Option(help="The task, for a model that Immich does not know.")]
Json = Annotated[bool, typer.Option("--json", help="For scripts.")]


def _load() -> Settings:
    chosen = settings.load()
    logs.set_up(chosen.log_level, color=not chosen.no_color)
    return chosen


@app.command("list")
def list_command(
    known: Annotated[bool, typer.Option("--all", help="Every name that Immich knows too.")] = False,
    json_output: Json = False,
) -> None:
    """Lists the models that are here, which parts of them, and which are prepared."""
    chosen = _load()
    rows = list(models.list_models(chosen, known=known))
    if json_output:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=1))
        return
    table = Table("task", "model", "here", "prepared", "MB")
    for row in rows:
        size = f"{row.size_bytes / 1e6:.0f}" if row.size_bytes else ""
        table.add_row(row.task, row.name, row.here, row.prepared, size)
    Console().print(table)


@app.command()
def pull(name: Name, task: Task = None) -> None:
    """Fetches a model into the cache folder: for a host without a network, do it elsewhere and copy the folder."""
    chosen, parts = _load(), models.parts_of(name, task)
    folders = asyncio.run(_obtain(chosen, parts))
    typer.echo(f"{name} is in {' and '.join(sorted(map(str, folders)))}")


async def _obtain(chosen: Settings, parts: list[Part]) -> set[Path]:
    with closing(Preparation(chosen)) as preparation:
        return {await preparation.obtain(canonical(part)) for part in parts}


@app.command()
def prepare(name: Name, task: Task = None) -> None:
    """Fetches a model if need be and writes its Triton folders, as a first request would."""
    chosen, parts = _load(), models.parts_of(name, task)
    asyncio.run(_prepare(chosen, parts))


async def _prepare(chosen: Settings, parts: list[Part]) -> None:
    with closing(Preparation(chosen)) as preparation:
        for part in map(canonical, parts):
            prepared = await preparation.ensure(part)
            limit = prepared.max_batch_size
            batches = f"batches of up to {limit}" if limit > 1 else "one by one"
            typer.echo(f"{part}: {chosen.repository / prepared.model}, {batches}")
            for note in prepared.notes:
                typer.echo(f"  {note}")


@app.command("stand-ins")
def stand_ins(
    into: Annotated[
        Path | None, typer.Option(help="Folder to write to.", show_default="the cache folder")
    ] = None,
) -> None:
    """Builds models of the sizes of Immich's default ones, with random weights: to measure without a download."""
    build_standins(into or _load().models, typer.echo)


@app.command()
def remove(
    name: Name,
    task: Task = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Deletes a model from the cache folder, and what was prepared of it."""
    chosen, parts = _load(), models.parts_of(name, task)
    if not yes:
        typer.confirm(f"Delete {name} from {chosen.models} and {chosen.repository}?", abort=True)
    gone = Preparation(chosen).remove(parts)
    typer.echo("\n".join(f"deleted {folder}" for folder in gone) or f"{name} was not here")


@app.command()
def verify(name: Name, task: Task = None, json_output: Json = False) -> None:
    """Compares a model's files with the hashes under which they were fetched. Exit status 1 if one is off."""
    checks = Preparation(_load()).verify(models.parts_of(name, task)[0].name)
    if json_output:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            typer.echo(f"{check.state:8} {check.path}")
    if not checks or any(check.state in ("missing", "corrupt") for check in checks):
        raise typer.Exit(1)
