"""What `remedy doctor` says of the provider itself: the service, its journal, policy and clock."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

from keptn_remedy.action import Finding
from keptn_remedy.cli.doctor.examined import Examined
from keptn_remedy.cli.remote_values import checked
from keptn_remedy.cli.running_service import here
from keptn_remedy.cli.server import ServerError
from keptn_remedy.cli.terminal import when
from keptn_remedy.guardrails.policy import Policy, PolicyError
from keptn_remedy.guardrails.units import counted
from keptn_remedy.journal import Address, JournalError, JournalUnusable, open_beside, place_of
from keptn_remedy.ops.models import Readiness
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.mounted_files import MountedFile, why_unreadable
from keptn_remedy.support.reading import MAX_BYTES

STEP_SECONDS = 1.0
FREE_BYTES = 16 * 2**20
EARLIEST = 1_750_000_000.0


async def journal(examined: Examined) -> AsyncIterator[Finding]:
    """Whether it can be read and written, and whether a service runs from it."""
    place = place_of(examined.settings)
    if isinstance(place, Path) and (on_disk := _on_disk(place)):
        yield on_disk
        return
    try:
        opened = open_beside(place)
    except (JournalUnusable, JournalError) as error:
        yield Finding("journal", False, str(error), "check REMEDY_JOURNAL, or restore a backup")
        return
    try:
        is_served = opened.is_served()
        backlog = await opened.backlog()
        served = "a service runs from it" if is_served else "no service runs from it"
        is_open = counted(backlog.executions, "execution")
        said = f"{place}: {is_open} open, {counted(backlog.unsent, 'report')} unsent"
        yield Finding("journal", True, f"{said}; {served}")
        if backlog.parked:
            to_do = "remedy reports list says why, remedy reports resend sends them again"
            yield Finding(
                "reports", False, f"Keptn refused {counted(backlog.parked, 'report')}", to_do
            )
    except (JournalUnusable, JournalError) as error:
        yield Finding("journal", False, str(error), "restore a backup: remedy journal restore")
    finally:
        await opened.close()
    if isinstance(place, Address):
        yield await asyncio.to_thread(_pooler, place)


def _pooler(place: Address) -> Finding:
    # It imports psycopg, which a journal in a file has no need of.
    from keptn_remedy.journal.postgres_pooler import what_a_pooler_loses

    try:
        lost = what_a_pooler_loses(place)
    except JournalUnusable as error:
        return Finding("pooler", False, str(error), "try again, or read the server's log")
    if lost:
        said = f"one in between loses {' and '.join(lost)}: replicas look once a second"
        return Finding("pooler", False, said, "connect directly, or let it pool by session")
    return Finding("pooler", True, "none that loses anything: replicas wake one another")


def _on_disk(path: Path) -> Finding | None:
    """What is wrong with the file's place; or that the file is still to be made there."""
    there = next(folder for folder in path.absolute().parents if folder.exists())
    for each in (there, path) if path.exists() else (there,):
        if not os.access(each, os.R_OK | os.W_OK):
            to_do = "let this user write there, or set REMEDY_JOURNAL"
            return Finding("journal", False, f"{each} can't be written", to_do)
    free = shutil.disk_usage(there).free
    if free < FREE_BYTES:
        left = f"{free // 2**20} MiB are left on the disk of {path}"
        return Finding("journal", False, left, f"make room: leave it {FREE_BYTES // 2**20} MiB")
    if not path.exists():
        return Finding("journal", True, f"{path} does not exist yet: the first start makes it")
    return None


async def service(examined: Examined) -> AsyncIterator[Finding]:
    """What the running service says of itself, where one runs here."""
    asked = await here(examined.settings)
    if asked is None:
        yield Finding("service", None, "none runs here", "start it with remedy serve")
        return
    try:
        answer = await asked.get("/readyz")
        ready = asked.understood(lambda found: checked(Readiness, found), answer)
    except ServerError as error:
        to_do = "give doctor its REMEDY_OPS_HOST and REMEDY_OPS_PORT; if it has these, read its log"
        yield Finding("service", False, str(error), to_do)
        return
    finally:
        await asked.close()
    wrong = [*ready.reasons, *ready.degraded]
    if wrong:
        yield Finding("service", False, "; ".join(wrong), "read its log")
    else:
        yield Finding("service", True, f"ready at {asked.url}")


async def policy(examined: Examined) -> AsyncIterator[Finding]:
    """Whether the policy can be used."""
    path = examined.settings.policy
    if path is None:
        yield Finding("policy", True, "none; the built-in rules apply")
        return
    try:
        found = Policy.load((await MountedFile(path, MAX_BYTES + 1).read()).text)
    except OSError as error:
        yield Finding("policy", False, f"{path}: {why_unreadable(error)}", "check REMEDY_POLICY")
    except UnicodeDecodeError:
        yield Finding("policy", False, f"{path} is not UTF-8 text", "check REMEDY_POLICY")
    except PolicyError as error:
        yield Finding("policy", False, error.mistakes[0], f"remedy policy check {path}")
    else:
        yield Finding("policy", True, f"{path}: {counted(len(found.rules), 'rule')}")


async def clock(_: Examined) -> AsyncIterator[Finding]:
    """Whether the wall clock is plausible, and keeps pace with the steady one."""
    wall, steady = time.time(), time.monotonic()
    await asyncio.sleep(0.05)
    step = (time.time() - wall) - (time.monotonic() - steady)
    if wall < EARLIEST:
        yield Finding(
            "clock", False, f"it says {when(Clock().utc())}", "set it, by NTP for instance"
        )
    elif abs(step) > STEP_SECONDS:
        yield Finding("clock", False, f"it was set by {step:+.0f} s just now", "look at NTP")
    else:
        yield Finding("clock", True, when(Clock().utc()))


async def actions(examined: Examined) -> AsyncIterator[Finding]:
    """Which actions are on."""
    registry = examined.registry
    on = [entry.name for entry in registry.entries if entry.action]
    for broken in registry.broken:
        yield Finding("actions", False, f"{broken.origin}: {broken.why}", "repair or remove it")
    for name in examined.settings.actions:
        entry = registry.entry(name)
        if entry is not None and entry.off:
            yield Finding("actions", False, f"{name} is off: {entry.off}", f"remedy actions {name}")
    if on:
        yield Finding("actions", True, f"on: {', '.join(on)}")
    else:
        yield Finding("actions", False, "none is on", "remedy actions says why")
