"""Builds a demo model, as the service does when one is asked for: `python -m demo.models TASK FOLDER`."""

import sys
from pathlib import Path

from adapter.errors import SetupError
from adapter.protocol import TaskName
from demo.models import build

task, folder = sys.argv[1:]
try:
    build(TaskName(task), Path(folder))
except (SetupError, OSError) as error:
    sys.stdout.write(str(error))
