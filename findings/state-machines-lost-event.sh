#!/usr/bin/env bash
# python-statemachine 3.2.2, transitions 0.9.3: an event that waits behind a failing one is lost.
#
# Guess: an event that is sent while another one is handled waits for its turn, and then is handled,
#   whether or not the other one failed.
# Seen: when the first event's callback fails or is cancelled, transitions (`queued=True`) forgets
#   those that wait, and their `await` has already returned True. python-statemachine forgets them when
#   the first one fails, and gives their callers its error. So a `stop` that is sent while a `start`
#   hangs, and ends by a time-out, is accepted, and the machine goes on in the state of the start.
# Do: look at the state after an event, and send the event again until the state is right.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  python-statemachine==3.2.2 transitions==0.9.3

"$folder/venv/bin/python" - <<'PY'
import asyncio
import sys
from importlib.metadata import version

from statemachine import State, StateMachine
from transitions.extensions.asyncio import AsyncMachine

print(*(f"{name} {version(name)}" for name in ("python-statemachine", "transitions")))


class Work:
    """What a start does: it begins, and ends or fails once it is told to."""

    def __init__(self):
        self.begun, self.go_on, self.fails = asyncio.Event(), asyncio.Event(), False

    async def run(self):
        self.begun.set()
        await self.go_on.wait()
        if self.fails:
            raise ConnectionError


class WithTransitions:
    def __init__(self, work):
        self.run = work.run
        AsyncMachine(
            self,
            states=["idle", "running", "stopped"],
            initial="idle",
            queued=True,
            transitions=[
                {"trigger": "start", "source": "idle", "dest": "running", "after": self.run},
                {"trigger": "stop", "source": "*", "dest": "stopped"},
            ],
        )

    def now(self):
        return self.state


class WithStateMachine(StateMachine):
    idle, running, stopped = State(initial=True), State(), State(final=True)
    start = idle.to(running)
    stop = running.to(stopped) | idle.to(stopped)

    def __init__(self, work):
        self.work = work
        super().__init__()

    async def on_start(self):
        await self.work.run()

    async def on_stop(self):
        return True

    def now(self):
        return " ".join(state.id for state in self.configuration)


async def stopped_while_starting(make, end):
    """What the start and the stop return or raise, and the state in the end."""
    work = Work()
    machine = make(work)
    start = asyncio.create_task(machine.start())
    await work.begun.wait()
    stop = asyncio.create_task(machine.stop())
    await asyncio.sleep(0.2)
    if end == "cancelled":
        start.cancel()
    work.fails = end == "failed"
    work.go_on.set()
    results = await asyncio.gather(start, stop, return_exceptions=True)
    said = [type(r).__name__ if isinstance(r, BaseException) else r for r in results]
    return said[1], machine.now()


seen = {
    f"{make.__name__}, start {end}": asyncio.run(stopped_while_starting(make, end))
    for make in (WithTransitions, WithStateMachine)
    for end in ("done", "failed", "cancelled")
}
recorded = {
    "WithTransitions, start done": (True, "stopped"),
    "WithTransitions, start failed": (True, "running"),
    "WithTransitions, start cancelled": (True, "running"),
    "WithStateMachine, start done": (True, "stopped"),
    "WithStateMachine, start failed": ("ConnectionError", "idle"),
    "WithStateMachine, start cancelled": (True, "stopped"),
}
for what, (said, state) in seen.items():
    print(f"{what}: the stop says {said}, and the state is {state}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
