"""Tests of vmproxy.

Compiled files are kept, whatever the environment says: without them each worker, and each daemon under test, compiles
everything anew, which takes longer than most tests.
"""

import os
import sys

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
