"""The page for people: what runs, what waits, what went wrong, and a picture to try. One file, no other request."""

import asyncio
import hashlib
import json
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from adapter.page.status import TITLES, by_task, duration, in_flight
from adapter.protocol import TaskName, TypeName, types_of
from adapter.service import Service

HERE = Path(__file__).parent
STYLE, SCRIPT = ((HERE / name).read_text("utf-8") for name in ("style.css", "page.js"))
ENVIRONMENT = Environment(
    loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
ENVIRONMENT.filters |= {"duration": duration, "mb": lambda size: f"{size / 1e6:.0f}"}
ENVIRONMENT.globals |= {"titles": TITLES, "version": version("immich-triton")}
TEMPLATE = ENVIRONMENT.get_template("page.html")


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hash(SCRIPT)}; style-src {_hash(STYLE)}; img-src data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",  # the address may hold the token
    "Vary": "Accept",
    "X-Content-Type-Options": "nosniff",
}


async def page(service: Service) -> Response:
    """All of it, as it stands now."""
    standings = service.registry.standings()
    loaded = {standing.part.name for standing in standings if standing.prepared}
    here = await asyncio.to_thread(lambda: {task: service.preparation.names(task) for task in TaskName})
    idle = {task: [name for name in names if name not in loaded] for task, names in here.items()}
    started = service.metrics.registry.get_sample_value("process_start_time_seconds")
    content = TEMPLATE.render(
        style=Markup(STYLE),  # noqa: S704 - both are files of ours
        script=Markup(SCRIPT),  # noqa: S704
        service=service,
        now=datetime.now(UTC),
        standings=standings,
        idle={task: names for task, names in idle.items() if names},
        downloads=service.preparation.downloads(),
        tasks=by_task(service.metrics),
        in_flight=in_flight(service.metrics),
        up_s=time.time() - started if started else None,
        choices=choices({task: sorted(here[task], key=lambda name: name not in loaded) for task in here}),
    )
    return HTMLResponse(content, headers=HEADERS)


def choices(names: Mapping[TaskName, Sequence[str]]) -> dict[str, str]:
    """What can be asked of a picture, with the `entries` for it: all tasks by their first models, then each model."""
    firsts = [(task, of_task[0]) for task, of_task in names.items() if of_task]
    asked = {f"Everything: {', '.join(name for _, name in firsts)}": firsts} if firsts else {}
    for task, of_task in names.items():
        asked |= {f"{TITLES[task]}: {name}": [(task, name)] for name in of_task}
    return {
        title: json.dumps({task: _types(task, name) for task, name in those})
        for title, those in asked.items()
    }


def _types(task: TaskName, name: str) -> dict[TypeName, dict[str, str]]:
    return {kind: {"modelName": name} for kind in types_of(task) if kind is not TypeName.TEXTUAL}
