"""The bench as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def run_bench(folder: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """A quick run that writes to a folder; :returns: the process, and what it found."""
    found = folder / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--log-dir", str(folder), "--json", str(found), *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, json.loads(found.read_text()) if found.exists() else {}
