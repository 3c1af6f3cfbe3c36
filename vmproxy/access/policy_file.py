"""``[[rule]]``, ``[[console]]`` and ``[[group]]`` tables: read from what TOML gives, every problem told.

One ``[console]`` table alone is for all consoles.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vmproxy.access.console_options import ConsoleOptions
from vmproxy.access.groups import GROUPS_LIMIT, Group, Groups
from vmproxy.access.policy import EVERYBODY, ConsoleSection, Policy, Rule
from vmproxy.base.schema import Problem, read, read_values, settings_of, tables
from vmproxy.base.toml import KeyPath


def parse_policy(rules: Any, consoles: Any, groups: Any = None) -> tuple[Policy, list[Problem]]:
    """Read the tables.

    :param rules: as TOML gives them; None where there are none, and everybody may do everything then.
    :returns: the policy, and every problem that was found.
    """
    problems: list[Problem] = []
    found = [
        read(Rule, table, problems, ("rule", index), number=index + 1)
        for index, table in enumerate(tables("rule", rules, problems))
    ]
    options = settings_of(ConsoleOptions)
    sections = []
    everywhere = isinstance(consoles, dict)
    if everywhere:
        consoles = [{"on": ["*"], **consoles}]
    for index, table in enumerate(tables("console", consoles, problems)):
        place: KeyPath = ("console",) if everywhere else ("console", index)
        own = {key: value for key, value in table.items() if key in options}
        checked = read_values(options, own, problems, place)
        values = tuple((options[key].attributes[0], value) for key, value in checked.items())
        sections.append(read(ConsoleSection, table, problems, place, also=options, values=values))
    policy = Policy(
        (EVERYBODY,) if rules is None else tuple(rule for rule in found if rule is not None),
        tuple(section for section in sections if section is not None),
        Groups(list(_groups(groups, problems))),
    )
    return policy, problems


def _groups(groups: Any, problems: list[Problem]) -> Iterator[Group]:
    found = tables("group", groups, problems)
    if len(found) > GROUPS_LIMIT:
        problems.append(Problem(("group", GROUPS_LIMIT), f"at most {GROUPS_LIMIT} groups"))
    for index, table in enumerate(found[:GROUPS_LIMIT]):
        group = read(Group, table, problems, ("group", index))
        if group is not None:
            yield group
