"""The command `immich-triton`."""

import asyncio
import json
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from adapter import logs, server, settings
from adapter.cli_models import app as models_app
from adapter.commands import predict
from adapter.commands.bench import bench
from adapter.commands.bench_adapter import bench_adapter
from adapter.commands.doctor import examine
from adapter.commands.perf_analyzer import perf_analyzer
from adapter.commands.settings_page import markdown
from adapter.errors import ServiceError, SetupError
from adapter.protocol import TaskName
from demo import show as demonstration

JsonOption = Annotated[bool, typer.Option("--json", help="For scripts.")]
app = typer.Typer(
    help="The machine-learning host for Immich, on NVIDIA Triton.", no_args_is_help=True, add_completion=False
)

app.add_typer(models_app, name="models")
app.command()(bench)
app.command()(bench_adapter)
app.command("perf-analyzer", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    perf_analyzer
)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="[::]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="3003")] = None,
    models: Annotated[
        Path | None, typer.Option(help="Folder of the models, in the layout of Immich's model cache.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Folder for prepared models.", show_default="~/.cache/immich-triton"),
    ] = None,
    triton_url: Annotated[
        str | None, typer.Option(help="A Triton that is running already, instead of the embedded one.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning …", show_default="info")] = None,
) -> None:
    """Starts Triton and the adapter, and says which URL to paste into Immich's settings.

    Every option, and many more, can be given as environment variables: see docs/settings.md.
    """
    chosen = settings.load(
        host=host,
        port=port,
        cache_folder=models,
        state_folder=state,
        triton_url=triton_url,
        log_level=log_level,
    )
    logs.set_up(chosen.log_level, color=not chosen.no_color)
    server.run(chosen)


@app.command()
def demo(
    url: Annotated[
        str | None,
        typer.Option(help="A running service.", show_default="one is started, and stopped at the end"),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the annotated pictures.")] = Path("out"),
) -> None:
    """Shows the whole stack at work: a search, faces, a page of text; needs no download."""
    output.mkdir(parents=True, exist_ok=True)
    asyncio.run(demonstration.run(url, output))


@app.command()
def doctor(json_output: JsonOption = False) -> None:
    """Looks at this host: each line is good, or says what to do. Exit status 1 if one is not good."""
    findings = list(examine(settings.load()))
    if json_output:
        typer.echo(json.dumps([finding.as_dict() for finding in findings], indent=1))
    else:
        for finding in findings:
            mark, color = ("good", typer.colors.GREEN) if finding.good else ("look", typer.colors.RED)
            typer.echo(f"{typer.style(mark, fg=color)}  {finding.subject:14} {finding.message}")
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


@app.command("predict")
def predict_command(
    task: Annotated[TaskName, typer.Option(help="What to ask for.")] = TaskName.CLIP,
    image: Annotated[Path | None, typer.Option(help="A picture.", exists=True, dir_okay=False)] = None,
    text: Annotated[str | None, typer.Option(help="A text, for clip.")] = None,
    model: Annotated[str | None, typer.Option(help="Default: Immich's own for the task.")] = None,
    url: Annotated[str, typer.Option(help="A running server.")] = "http://localhost:3003",
    json_output: JsonOption = False,
) -> None:
    """Asks a running server, as Immich does."""
    if (image is None) == (text is None):
        raise typer.BadParameter("give either --image or --text")
    wanted = predict.entries(task, model or predict.DEFAULT_MODELS[task], text=text is not None)
    answer = asyncio.run(predict.ask(url, wanted, image.read_bytes() if image else None, text))
    if json_output:
        typer.echo(json.dumps(answer))
    else:
        Console().print(*predict.tables(answer))


@app.command("settings")
def print_settings() -> None:
    """Prints every setting as a Markdown table: the source of docs/settings.md."""
    typer.echo(markdown(), nl=False)


@app.command("version")
def print_version() -> None:
    """Prints the version."""
    typer.echo(version("immich-triton"))


def main() -> None:
    """Runs the command; a fault of the host ends it with one sentence."""
    try:
        app()
    except (SetupError, ServiceError) as error:
        typer.secho(f"immich-triton: {error}", err=True, fg=typer.colors.RED)
        raise SystemExit(1) from None
