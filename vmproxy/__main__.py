"""``python -m vmproxy`` is the ``vmproxy`` command."""

import sys

from vmproxy.cli import main

sys.exit(main())
