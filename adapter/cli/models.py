"""`immich-triton models ...`: what is in the cache folder and what is made of it, without a running service."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from adapter import logs
from adapter import settings as environment
from adapter.cli.options import Json
from adapter.device import settle
from adapter.errors import SetupError
from adapter.preparation.catalog import KNOWN
from adapter.protocol import Part, TaskName, canonical, clean_name, types_of
from adapter.settings import Settings

app = typer.Typer(help="The models in the cache folder, and what is made of them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A model by Immich's name, such as ViT-B-32__openai.")]
Task = Annotated[TaskName | None, typer.Option(help="The task, for a model that Immich does not know.")]


class Row(NamedTuple):
    """A model as `list` shows it.

    Attributes:
        revisions: those that are prepared, or those that are here where none is.
        cosine: lowest between the vectors of both revisions, as found when it was prepared.
        resize: of pictures, where Immich 3.2 and older did it otherwise.
    """

    task: str
    name: str
    here: str
    prepared: str
    revisions: str
    cosine: float | None
    resize: str
    size_bytes: int


@app.command("list")
def list_models(
    known: Annotated[bool, typer.Option("--all", help="Every name that Immich knows too.")] = False,
    json_output: Json = False,
) -> None:
    """Lists the models that are here, which parts of them, and which are prepared."""
    rows = list(_rows(_load(), known=known))
    if json_output:
        typer.echo(json.dumps([row._asdict() for row in rows], indent=1))
        return
    table = Table("task", "model", "here", "prepared", "revision", "cosine", "resize", "MB")
    for *texts, size_bytes in rows:
        shown = ("" if text is None else str(text) for text in texts)
        table.add_row(*shown, f"{size_bytes / 1e6:.0f}" if size_bytes else "")
    Console().print(table)


@app.command()
def pull(name: Name, task: Task = None) -> None:
    """Fetches a model into the cache folder: for a host without a network, do it elsewhere and copy the folder."""
    folders = asyncio.run(_obtain(_load(), parts_of(name, task)))
    typer.echo(f"{name} is in {' and '.join(sorted(map(str, folders)))}")


@app.command()
def prepare(name: Name, task: Task = None) -> None:
    """Fetches a model if need be and writes its Triton folders, as a first request would."""
    asyncio.run(_prepare(settle(_load()), parts_of(name, task)))


@app.command()
def remove(
    name: Name, task: Task = None, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Deletes a model from the cache folder, and what was prepared of it."""
    from adapter.preparation.door import Preparation

    chosen, parts = _load(), parts_of(name, task)
    if not yes:
        typer.confirm(f"Delete {name} from {chosen.models} and {chosen.repository}?", abort=True)
    gone = Preparation(chosen).remove(parts)
    typer.echo("\n".join(f"deleted {folder}" for folder in gone) or f"{name} was not here")


@app.command()
def verify(name: Name, task: Task = None, json_output: Json = False) -> None:
    """Compares a model's files with the hashes under which they were fetched. Exit status 1 if one is off."""
    from adapter.preparation.door import Preparation

    checks = Preparation(_load()).verify(parts_of(name, task)[0].name)
    if json_output:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            typer.echo(f"{check.state:8} {check.path}")
    if not checks or any(check.state in ("missing", "corrupt") for check in checks):
        raise typer.Exit(1)


def parts_of(name: str, task: TaskName | None = None) -> list[Part]:
    """The parts of a model.

    Raises:
        SetupError: the name is none, or belongs to no task.
    """
    try:
        cleaned = clean_name(name)
    except ValueError as error:
        raise SetupError(str(error)) from error
    task = task or next((known for known, names in KNOWN.items() if cleaned in names), None)
    if task is None:
        raise SetupError(f"{name!r} is no name that Immich knows; say its task: --task clip")
    return [Part(task, type_name, cleaned) for type_name in types_of(task)]


def _load() -> Settings:
    chosen = environment.load()
    logs.set_up(chosen.log_level, chosen.log_format, color=not chosen.no_color)
    return chosen


def _rows(chosen: Settings, *, known: bool) -> Iterator[Row]:
    from adapter.preparation.door import Preparation

    preparation = Preparation(chosen)
    resized = preparation.resized_otherwise()
    for task in TaskName:
        here = preparation.names(task)
        for name in [*here, *(name for name in KNOWN[task] if known and name not in here)]:
            there = {part.type: preparation.revisions(part) for part in parts_of(name, task)}
            prepared = {part.type: preparation.prepared(part) for part in parts_of(name, task)}
            made = [found for found in prepared.values() if found]
            served = {found.revision for found in made} or {
                each for found in there.values() for each in found
            }
            folder = chosen.models / task / name
            yield Row(
                task,
                name,
                " ".join(type_name for type_name, found in there.items() if found),
                " ".join(type_name for type_name, found in prepared.items() if found),
                " ".join(sorted(served)),
                min((found.cosine for found in made if found.cosine is not None), default=None),
                resized.get(name, ""),
                sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            )


async def _obtain(chosen: Settings, parts: list[Part]) -> set[Path]:
    from adapter.preparation.door import Preparation

    with closing(Preparation(chosen)) as preparation:
        return {await preparation.obtain(canonical(part)) for part in parts}


async def _prepare(chosen: Settings, parts: list[Part]) -> None:
    from adapter.preparation.door import Preparation

    with closing(Preparation(chosen)) as preparation:
        for part in map(canonical, parts):
            prepared = await preparation.ensure(part)
            size = prepared.max_batch_size
            batches = f"batches of up to {size}" if size > 1 else "one by one"
            typer.echo(f"{part}: {chosen.repository / prepared.model}, {batches}")
            for note in prepared.notes:
                typer.echo(f"  {note}")
