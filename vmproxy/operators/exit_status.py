"""The exit statuses of sessions and commands; ``docs/commands.rst`` tells them to people."""

OK = 0
FAILED = 1
USAGE = 2
NO_SUCH_CONSOLE = 3
AMBIGUOUS = 4
DOWN = 5
SHUTTING_DOWN = 6
KICKED = 7
TIMEOUT = 8
BUSY = 9
FORBIDDEN = 10
INTERRUPTED = 130
