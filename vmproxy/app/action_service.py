"""The action service: programs that operators have run."""

from __future__ import annotations

from typing import Any

from twisted.internet.posixbase import PosixReactorBase

from vmproxy.app.part import Part
from vmproxy.config.settings import Config
from vmproxy.hooks.action_programs import ActionPrograms
from vmproxy.operators.actions import Actions


class ActionService(Part):
    """The actions.

    :ivar actions: what operators may have done.
    """

    def __init__(self, reactor: PosixReactorBase) -> None:
        self._programs = ActionPrograms(reactor)
        self.actions = Actions(self._programs.run)

    def reconfigure(self, config: Config, checked: Any) -> list[str]:
        if tuple(self.actions) == config.actions:
            return []
        self.actions.use(config.actions)
        return ["actions"]

    def stopService(self) -> None:
        super().stopService()
        self._programs.stop()
