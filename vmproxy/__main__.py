"""``python -m vmproxy`` is the ``vmproxy`` command."""

import sys

from vmproxy.cli.main import main

sys.exit(main())
