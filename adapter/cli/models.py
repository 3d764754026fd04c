"""`immich-triton models ...`: what is in the cache folder and what is made of it, without a running service."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

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

if TYPE_CHECKING:
    from adapter.preparation.door import Preparation, Prepared

app = typer.Typer(help="The models in the cache folder, and what is made of them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A model by Immich's name, such as ViT-B-32__openai.")]
Task = Annotated[TaskName | None, typer.Option(help="The task, where several have a model of this name.")]


class Row(NamedTuple):
    """A model as `list` shows it.

    Attributes:
        revisions: those that are prepared, or those that are here where none is.
        cosine: lowest between the vectors of both revisions, as found when it was prepared.
        resize: of pictures, where Immich 3.2 and older did it otherwise.
        engine: what computes the graphs of the parts that are prepared; in brackets, how many times as fast as ONNX
            Runtime the best other engine was.
    """

    task: str
    name: str
    here: str
    prepared: str
    revisions: str
    cosine: float | None
    resize: str
    engine: str
    size_bytes: int


@app.command("list")
def list_models(
    known: Annotated[bool, typer.Option("--all", help="Every name that Immich knows too.")] = False,
    json_output: Json = False,
) -> None:
    """Lists the models that are here, which parts of them, and which are prepared."""
    from adapter import checks
    from adapter.preparation.door import Preparation

    chosen = _load()
    preparation = Preparation(chosen)
    rows = list(_rows(chosen, preparation, known=known))
    if not (finding := checks.cache(chosen, preparation)).good:
        typer.secho(finding.message, err=True, fg=typer.colors.RED)
    if json_output:
        typer.echo(json.dumps([row._asdict() for row in rows], indent=1))
        return
    table = Table("task", "model", "here", "prepared", "revision", "cosine", "resize", "engine", "MB")
    for *texts, size_bytes in rows:
        shown = ("" if text is None else str(text) for text in texts)
        table.add_row(*shown, f"{size_bytes / 1e6:.0f}" if size_bytes else "")
    Console().print(table)


@app.command()
def pull(name: Name, task: Task = None) -> None:
    """Fetches a model into the cache folder: for a host without a network, do it elsewhere and copy the folder."""
    chosen = _load()
    folders = asyncio.run(_obtain(chosen, parts_of(chosen, name, task)))
    typer.echo(f"{name} is in {' and '.join(sorted(map(str, folders)))}")


@app.command()
def prepare(name: Name, task: Task = None) -> None:
    """Fetches a model if need be and writes its Triton folders, as a first request would."""
    chosen = _load()
    asyncio.run(_prepare(settle(chosen), parts_of(chosen, name, task)))


@app.command()
def remove(
    name: Name, task: Task = None, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Deletes a model from the cache folder, and what was prepared of it."""
    from adapter.preparation.door import Preparation

    chosen = _load()
    parts = parts_of(chosen, name, task)
    preparation = Preparation(chosen)
    folders = preparation.folders_of(parts)
    if not folders:
        raise SetupError(
            f"{name} is not here: there is nothing of it in {chosen.models} or {chosen.repository}."
        )
    if not yes:
        typer.confirm(f"Delete {', '.join(map(str, folders))}?", abort=True)
    preparation.remove(parts)
    typer.echo("\n".join(f"deleted {folder}" for folder in folders))


@app.command()
def verify(name: Name, task: Task = None, json_output: Json = False) -> None:
    """Compares a model's files with the hashes under which they were fetched. Exit status 1 if one is off."""
    from adapter.preparation.door import Preparation

    chosen = _load()
    checks = Preparation(chosen).verify(parts_of(chosen, name, task)[0].name)
    if not checks:
        raise SetupError(f"{name} is not in {chosen.models}.")
    if json_output:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            typer.echo(f"{check.state:8} {check.path}")
        if any(check.state == "unknown" for check in checks):
            typer.echo("unknown: not fetched by immich-triton, so there is no hash to compare with")
    if any(check.state in ("missing", "corrupt") for check in checks):
        raise typer.Exit(1)


def parts_of(chosen: Settings, name: str, task: TaskName | None = None) -> list[Part]:
    """The parts of a model.

    Raises:
        SetupError: the name is none, or belongs to no task.
    """
    from adapter.preparation.door import Preparation

    try:
        cleaned = clean_name(name)
    except ValueError as error:
        raise SetupError(str(error)) from error
    task = task or Preparation(chosen).task_of(cleaned)
    return [Part(task, type_name, cleaned) for type_name in types_of(task)]


def _load() -> Settings:
    chosen = environment.load()
    logs.set_up(chosen.log_level, chosen.log_format, color=not chosen.no_color)
    return chosen


def _rows(chosen: Settings, preparation: "Preparation", *, known: bool) -> Iterator[Row]:
    resized = preparation.resized_otherwise()
    there = defaultdict(list)
    for part in preparation.here():
        there[part.part.task, part.part.name].append(part)
    for task in TaskName:
        names = preparation.names(task)
        for name in [*names, *(name for name in KNOWN[task] if known and name not in names)]:
            types, here = types_of(task), there[task, name]
            made = {type_name: preparation.prepared(Part(task, type_name, name)) for type_name in types}
            prepared = [found for found in made.values() if found]
            revisions = {found.revision for found in prepared} or {found.revision for found in here}
            yield Row(
                task,
                name,
                " ".join(
                    type_name for type_name in types if type_name in {found.part.type for found in here}
                ),
                " ".join(type_name for type_name in types if made[type_name]),
                " ".join(sorted(revisions)),
                min((found.cosine for found in prepared if found.cosine is not None), default=None),
                resized.get(name, ""),
                ", ".join(_engine(type_name, found) for type_name, found in made.items() if found),
                sum(found.bytes for found in here),
            )


def _engine(type_name: str, prepared: "Prepared") -> str:
    ratio = prepared.engine.ratio
    return f"{type_name} {prepared.engine}" + (f" ({ratio})" if ratio is not None else "")


async def _obtain(chosen: Settings, parts: list[Part]) -> set[Path]:
    from adapter.preparation.door import Preparation

    with closing(Preparation(chosen)) as preparation:
        return {await preparation.obtain(canonical(part)) for part in parts}


async def _prepare(chosen: Settings, parts: list[Part]) -> None:
    from adapter import checks
    from adapter.preparation.door import Preparation

    with closing(Preparation(chosen)) as preparation:
        if not (finding := checks.state(chosen, preparation)).good:
            raise SetupError(finding.message)
        for part in map(canonical, parts):
            prepared = await preparation.ensure(part)
            size = prepared.max_batch_size
            batches = f"batches of up to {size}" if size > 1 else "one by one"
            typer.echo(f"{part}: {chosen.repository / prepared.model}, {batches}")
            for note in prepared.notes:
                typer.echo(f"  {note}")
