"""A remote execution plane: the real process, killed at random while the way to Keptn fails.

`KILLS` raises the number of kills, `KILL_SEED` repeats a run that failed.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

from keptn_remedy.events import FINISHED, STARTED
from keptn_remedy.testing import triggered
from keptn_remedy.testing.polling_keptn import PollingKeptn
from tests.end_to_end.provider_process import ProviderProcess

KILLS = max(int(os.environ.get("KILLS", "0")), 8)
SEED = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
LONGEST_LIFE_SECONDS = 1.5
BURST = 5
SERVICES = 9


class Way:
    """The way to Keptn, which fails by the dice; `token` is the file that the provider reads."""

    def __init__(self, keptn: PollingKeptn, token: Path, dice: random.Random) -> None:
        self._keptn = keptn
        self._token = token
        self._dice = dice
        self._rotate()

    async def fail(self) -> None:
        keptn, dice = self._keptn, self._dice
        fault = dice.choice(("lost", "lost", "429", "503", "token", "away", "cut", "none"))
        if fault == "lost":
            kind = dice.choice((STARTED, FINISHED))
            keptn.drop_next(counted=dice.random() < 0.7, event_type=kind)
        elif fault in ("429", "503"):
            keptn.refuse_next(int(fault), times=dice.randint(1, 3))
        elif fault == "token":
            self._rotate()
        elif fault == "cut":
            keptn.hang_up_at(dice.choice(("triggered", "sequence-execution", "log")))
        elif fault == "away":
            await keptn.stop_listening()
            await asyncio.sleep(dice.uniform(0, 0.3))
            await keptn.listen()

    def mend(self) -> None:
        for endpoint in ("triggered", "sequence-execution", "log"):
            self._keptn.recover(endpoint)

    def _rotate(self) -> None:
        self._keptn.token = f"token-{self._dice.randrange(10**9)}"
        self._token.write_text(self._keptn.token)


async def test_no_kill_and_no_fault_of_the_way_loses_or_doubles_anything(tmp_path: Path) -> None:
    dice = random.Random(SEED)  # noqa: S311 - no secret
    token = tmp_path / "token"
    environment = {"KEPTN_API_TOKEN": "", "KEPTN_API_TOKEN_FILE": str(token)}
    async with (
        PollingKeptn() as keptn,
        ProviderProcess(
            tmp_path / "provider", keptn, environment, finished_after_seconds=0
        ) as provider,
    ):
        way, opened = Way(keptn, token, dice), list[str]()
        try:
            for _ in range(KILLS):
                provider.launch()
                if dice.random() < 0.5:
                    await provider.ready()
                for _ in range(dice.randint(1, BURST)):
                    service = f"service-{dice.randrange(SERVICES)}"
                    opened.append(keptn.open(triggered("run-often", {}, service=service)))
                    await way.fail()
                    await asyncio.sleep(dice.uniform(0, 0.1))
                await asyncio.sleep(dice.uniform(0, LONGEST_LIFE_SECONDS))
                way.mend()
                provider.kill()
            await provider.start()
            for execution in opened:
                await keptn.task_finished(execution, timeout=60)
            await provider.quiet()
        except BaseException as error:
            error.add_note(f"to repeat this: KILL_SEED={SEED} KILLS={KILLS}")
            raise
