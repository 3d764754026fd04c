"""How a CLIP model wants its pictures resized, and whether Immich 3.2 and older did it otherwise."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHORTEST = {"resize_mode": "shortest", "interpolation": "bicubic"}
"""What Immich 3.2 and older did, whatever the model's file says; and what is done where it says nothing."""


def resize_of(config: Mapping[str, Any]) -> dict[str, str]:
    """What a `preprocess_cfg.json` asks for, by the keys of `SHORTEST`."""
    return SHORTEST | {key: config[key] for key in SHORTEST if config.get(key)}


def unlike_shortest(folder: Path) -> str | None:
    """What the model in a folder asks for, such as `squash, bicubic`, where that moves its vectors."""
    try:
        resize = resize_of(json.loads((folder / "visual/preprocess_cfg.json").read_text()))
    except (OSError, ValueError, AttributeError):  # none, or a broken one: preparation tells
        return None
    return None if resize == SHORTEST else ", ".join(resize.values())
