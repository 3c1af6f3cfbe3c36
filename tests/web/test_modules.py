"""The modules of the pages, by their own tools: node --test, and tsc as a checker of types."""

from __future__ import annotations

import subprocess

from tests.support.node import NODE, ROOT, TSC, node, npm


@node
def test_what_the_modules_compute() -> None:
    assert NODE is not None
    files = sorted(str(path) for path in (ROOT / "tests" / "js").glob("*.test.js"))
    # In one process: ``node --test`` starts one for each file.
    script = "for (const file of process.argv.slice(1)) await import(file);"
    command = [NODE, "--input-type=module", "--eval", script, "--", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "# pass 0" not in done.stdout


@npm
def test_the_types_of_the_modules() -> None:
    assert NODE is not None
    command = [NODE, str(TSC), "--project", str(ROOT / "web" / "tsconfig.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
