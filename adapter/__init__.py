"""The service that speaks Immich's protocol, and its command line."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = (
    "1"  # ONNX Runtime reports to Microsoft otherwise; child processes inherit it
)
