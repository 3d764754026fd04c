"""`python -m bench.standins [FOLDER]`: builds the stand-ins, in the cache folder if no other is named."""

import sys
from pathlib import Path

from adapter import settings
from adapter.errors import SetupError
from bench.standins import build_standins

try:
    build_standins(Path(sys.argv[1]) if sys.argv[1:] else settings.load().models, print)
except SetupError as error:
    raise SystemExit(f"bench.standins: {error}") from None
