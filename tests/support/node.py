"""Node.js and what ``make web`` brings, where tests of the pages' modules and of the pages need them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODE = shutil.which("node")
TSC = ROOT / "web" / "node_modules" / "typescript" / "bin" / "tsc"
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"

node = pytest.mark.skipif(NODE is None, reason="node is not installed")
npm = pytest.mark.skipif(NODE is None or not TSC.exists(), reason="make web has not been run")
