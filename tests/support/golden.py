"""What of the original's answers depends on the processor.

They were taken on one with AVX-512. On another kind LAPACK, and so the original too, ends a homography with other last
bits, which move the text scores of level lines: see `_homographies` in `transforms/ocr_recognition.py`. Texts, boxes
and all else are the same on every kind.
"""

import json
from pathlib import Path
from typing import Any

HAS_AVX512 = "avx512f" in Path("/proc/cpuinfo").read_text()
TEXT_SCORE_TOLERANCE = 1e-4 if HAS_AVX512 else 0.1
"""The largest difference seen without AVX-512 is 0.093."""


def comparable(case: dict[str, Any]) -> dict[str, Any]:
    """A case of `cases.json`, without the text scores where this processor gives others."""
    if HAS_AVX512 or '"textScore"' not in case["body"]:
        return case
    body = json.loads(case["body"])
    del body["ocr"]["textScore"]
    return {**case, "body": json.dumps(body)}
