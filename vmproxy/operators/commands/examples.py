"""Examples of commands, for ``help COMMAND``: what is typed behind ``ssh con``, and what comes of it.

Words with blanks or patterns are quoted for the operator's own shell.
"""

from __future__ import annotations

EXAMPLES: dict[str, dict[str, str]] = {
    "list": {
        "list 'web*'": "those whose names begin so",
        "list --state down --sort since": "down, the longest first",
        "list --watch -c name,state,host": "again and again, three columns",
    },
    "status": {"status web01": "everything about one console"},
    "log": {
        "log web01 -n 50": "the last 50 lines",
        "log web01 --since 16:00 --until 16:10 -t": "ten minutes, with times",
        "log -f web01": "follow it",
        "log web01 --match 'error|fail' -i -C 3": "what matches, and around it",
    },
    "tail": {
        "tail 'web*' db01": "their lines as they come",
        "tail --match 'panic|oops' -C 5": "of all consoles, what matches",
        "tail tag:team=web --since 10m": "with the last ten minutes first",
    },
    "search": {
        "search panic": "in all logs, the newest first",
        "search -i 'call trace' 'web*' --since 1d": "of some, since yesterday",
        "search -c 'login:'": "how often, console by console",
    },
    "events": {
        "events web01 --since 1d": "what happened to it",
        "events -f": "what happens to any, live",
    },
    "alerts": {
        "alerts": "those that nobody has acknowledged",
        "alerts -f --json": "live, for a script",
    },
    "ack": {"ack web01 --note INC4711": "all alerts of web01"},
    "replay": {"replay web01 --since 16:00 --speed 10": "ten times as fast"},
    "send": {
        "send web01 uptime": "type it, and Enter",
        "send -n web01 '\\x03'": "a Ctrl-C, without Enter",
        "send 'web*' 'db*' -- uptime": "at many, when you say yes",
    },
    "expect": {
        "expect web01 login: --timeout 300": "until it has booted",
        "expect 'web*' db01 login: --all": "until all of them have",
    },
    "break": {"break web01": "a break", "break web01 --list": "the sequences it has"},
    "guest": {
        "guest web01 --ro --for 1h": "somebody may look on for an hour",
        "guest": "who has been let in",
        "guest --revoke guest-k7m2qx": "out again, at once",
    },
    "kick": {"kick web01 bob --reason 'maintenance'": "disconnect bob"},
    "trace": {"trace esx03": "what the host negotiates"},
}
