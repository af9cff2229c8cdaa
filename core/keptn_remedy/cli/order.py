"""What every order of an operator shares: who gives it, why, and the journal that carries it."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import ValidationError

from keptn_remedy.cli import found_actions, server
from keptn_remedy.cli.desk import OrderDesk
from keptn_remedy.cli.execution_ids import NotOne
from keptn_remedy.cli.opened_journal import journal_place, with_order_desk
from keptn_remedy.cli.terminal import FAILED, WRONG_USAGE, complain, say_json
from keptn_remedy.guardrails.pauses import PauseFile
from keptn_remedy.journal import Pause, Place, WholeRecord
from keptn_remedy.ops import models
from keptn_remedy.registry import RegistryError
from keptn_remedy.settings import load
from keptn_remedy.support import validation
from keptn_remedy.support.variables import SettingsError

LOOK_SECONDS = 0.1
HEARD_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Order:
    """An order: the service that runs from this journal reads it there within a second."""

    journal: OrderDesk
    place: Place
    by: str
    reason: str
    as_json: bool

    @property
    def is_heard(self) -> bool:
        """Whether a service is running with this journal.

        Raises:
            JournalUnusable: it runs from another file, which was at this path before.
        """
        return self.journal.is_served()

    async def until_heard(self) -> bool:
        """Wait until the running service has heard all orders, or none is running; False where it
        has not within `HEARD_SECONDS`.
        """
        try:
            async with asyncio.timeout(HEARD_SECONDS):
                while self.is_heard:
                    if await self.journal.all_heard():
                        return True
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            return False
        return True

    @property
    def unconfirmed(self) -> str:
        late = f"the service has not confirmed it within {HEARD_SECONDS:g} s"
        return f"stored in the journal, but {late}; read its log"

    @property
    def unheard(self) -> str:
        return f"no service is running with the journal {self.place}"


CarryOut = Callable[[Order], Awaitable[int]]


def ordered(
    carry_out: CarryOut,
    reason: str = "",
    model: type[models.AnyOrder] = models.Order,
    *,
    as_json: bool,
) -> int:
    """Check the reason and carry the order out; returns the exit code."""
    try:
        why = model(reason=reason).reason
    except ValidationError as error:
        complain([f"--reason: {validation.in_words(error.errors()[0])}"])
        return WRONG_USAGE

    async def use(journal: OrderDesk) -> int:
        journal.is_served()  # nothing is ordered in a file that the running service doesn't read
        try:
            return await carry_out(Order(journal, journal_place(), _who(), why, as_json))
        except NotOne as error:
            complain([str(error)])
            return FAILED

    return with_order_desk(use)


def say_execution(record: WholeRecord) -> None:
    """Print it as JSON, as `remedy journal show ID --json` does."""
    try:
        mask = found_actions.mask(os.environ)
    except (SettingsError, RegistryError) as error:  # the order was carried out all the same
        complain(error.mistakes)
    else:
        say_json(mask.value(models.ExecutionDetail.of(record).model_dump()))


def show_hint(execution_id: str) -> str:
    return f"see remedy journal show {execution_id}"


async def paused_by_file() -> Pause | None:
    """The pause that REMEDY_PAUSE_FILE holds now; a service that is asked looks itself."""
    if server.chosen():
        return None
    return await PauseFile(load(os.environ).pause_file).look()


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the user of a container has no name
        user = f"uid {os.getuid()}"
    return models.one_line(f"{user}@{socket.gethostname()}")
