"""Where the recorded answers of Immich's own service and the models that gave them lie, if they are at hand."""

from pathlib import Path

SHARED = Path(__file__).resolve().parents[3] / "shared"
