"""The program that prepares one part: the only one that knows ONNX. Started by `process.py`."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from adapter.errors import LASTING
from adapter.preparation.graphs.file import RewriteError
from adapter.preparation.graphs.proof import ProofFailed
from adapter.preparation.repository import prepare
from adapter.protocol import Part, TaskName, TypeName
from adapter.settings import PreparationSettings


def main() -> None:
    """Prepares the part of the job in the first argument; prints what came of it as JSON."""
    job = json.loads(sys.argv[1])
    json.dump(_result(job), sys.stdout)


def _result(job: dict[str, Any]) -> dict[str, Any]:
    part = Part(TaskName(job["part"]["task"]), TypeName(job["part"]["type"]), job["part"]["name"])
    settings = PreparationSettings(**job["settings"])
    try:
        return asdict(prepare(part, Path(job["source"]), Path(job["repository"]), settings))
    except (RewriteError, ProofFailed) as error:
        return {"refused": str(error)}
    except (KeyError, ValueError) as error:  # in one of the JSON files
        return {"refused": f"{type(error).__name__}: {error}"}
    except OSError as error:
        return {"refused" if error.errno in LASTING else "failed": str(error)}
    except MemoryError as error:
        return {"failed": f"the memory does not suffice ({error})"}


if __name__ == "__main__":
    main()
