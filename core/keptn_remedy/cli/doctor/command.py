"""The command itself: the checks in their order, and the lines they make."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.text import Text

from keptn_remedy import settings
from keptn_remedy.action import Finding
from keptn_remedy.cli.doctor import channels, keptn, own, peers, standalone
from keptn_remedy.cli.doctor.examined import Check, Examined
from keptn_remedy.cli.found_actions import discover
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    complain,
    console,
    folded,
    is_terminal,
    say,
    say_json,
)
from keptn_remedy.registry import RegistryError
from keptn_remedy.settings import KeptnSettings
from keptn_remedy.support import variables
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.variables import SettingsError

CHECKS: Mapping[str, Check] = {
    "service": own.service,
    "journal": own.journal,
    "policy": own.policy,
    "clock": own.clock,
    "keptn": keptn.way,
    "sources": standalone.sources,
    "actions": own.actions,
    "peers": peers.of_actions,
    "channels": channels.channels,
}
CHECK_SECONDS = 20.0
END_SECONDS = 1.0
_MARKS = {True: "ok", False: "WRONG", None: "-"}
_COLOURS = {True: "green", False: "bold red", None: "yellow"}


def examine(namespaces: Sequence[str], *, as_json: bool, is_standalone: bool = False) -> int:
    """Carry out all checks; returns the exit code: 1 if something is wrong."""
    from keptn_remedy.service.foundation import secrets_in  # imports the network libraries

    try:
        alone = {"REMEDY_TRANSPORT": "standalone"} if is_standalone else {}
        given = {**os.environ, **alone}
        found = variables.read(given)
        registry, keptn_settings = discover(given), variables.build(KeptnSettings, "", found)
        examined = Examined(
            variables=found,
            settings=settings.load(given),
            keptn=keptn_settings,
            registry=registry,
            mask=Mask(secrets_in(registry, keptn_settings)),
            namespaces=namespaces,
        )
    except (SettingsError, RegistryError) as error:
        complain(error.mistakes)
        return WRONG_USAGE
    return asyncio.run(_examine(examined, as_json=as_json))


async def _examine(examined: Examined, *, as_json: bool) -> int:
    is_wrong = False
    try:
        for about, check in CHECKS.items():
            for finding in await _findings(about, check, examined):
                is_wrong |= finding.is_good is False
                masked = replace(
                    finding,
                    message=examined.mask.text(finding.message),
                    to_do=examined.mask.text(finding.to_do),
                )
                _show(masked, as_json=as_json)
    finally:
        await examined.registry.close()
    code = FAILED if is_wrong else GOOD
    await _end_threads(code)
    return code


async def _end_threads(code: int) -> None:
    """End the process at once if a thread still waits, as for a mount: its end would be waited for.

    All has been said by now.
    """
    # Not cancelled, as that waits for the threads as well.
    ending = asyncio.create_task(asyncio.get_running_loop().shutdown_default_executor())
    await asyncio.wait([ending], timeout=END_SECONDS)
    if not ending.done():
        sys.stdout.flush()
        os._exit(code)


async def _findings(about: str, check: Check, examined: Examined) -> list[Finding]:
    found: list[Finding] = []
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            async for finding in check(examined):
                found.append(finding)  # noqa: PERF401  what was found before a time-out counts
    except TimeoutError:
        late = f"no end within {CHECK_SECONDS:g} s"
        found.append(Finding(about, False, late, "something doesn't answer"))
    except Exception as error:  # noqa: BLE001  the other checks tell what they find all the same
        why = f"it can't be looked at: {type(error).__name__}: {error}"
        found.append(Finding(about, False, why, "tell the authors of keptn-remedy"))
    return found


def _show(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        fields = ("about", "is_good", "message", "to_do")
        say_json({name: getattr(finding, name) for name in fields})
        return
    mark, to_do = _MARKS[finding.is_good], f"-> {finding.to_do}" if finding.to_do else ""
    first = f"{mark:<6} {finding.about:<12} "
    if not is_terminal():
        say(f"{first}{finding.message} {to_do}".rstrip())
        return
    below = " " * len(first)
    text = Text(folded(finding.message, first, below))
    text.stylize(_COLOURS[finding.is_good], 0, len(mark))
    console().print(text, soft_wrap=True)
    if to_do:
        say(folded(to_do, below, f"{below}   "))
