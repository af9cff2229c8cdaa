"""`remedy notify`: checks a channels file, and sends a trial to each channel."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from keptn_remedy import settings
from keptn_remedy.cli import checked_file
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    complain,
    say,
    say_folded,
    say_json,
    show_json,
)
from keptn_remedy.guardrails.units import counted
from keptn_remedy.notifications.channels_file import ChannelsFile, Entry, json_schema
from keptn_remedy.notifications.secret_file import ChannelTrouble
from keptn_remedy.notifications.sender import NotSent, NotTaken, Sender
from keptn_remedy.notifications.set_up import channel_of, read_channels
from keptn_remedy.notifications.trial import trial
from keptn_remedy.settings import Settings
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.near_names import near
from keptn_remedy.support.variables import SettingsError


def schema() -> int:
    """Print the JSON Schema of a channels file; returns the exit code."""
    show_json(json_schema())
    return GOOD


def check(path: Path, *, as_json: bool) -> int:
    """Say what is wrong with a channels file, or which channels it has; returns the exit code."""
    nothing: dict[str, Any] | None = {"channels": {}} if as_json else None
    found = checked_file.load(path, ChannelsFile.load, "channels file", nothing)
    if isinstance(found, int):
        return found
    if as_json:
        channels = {name: entry.type for name, entry in found.channels.items()}
        say_json({"good": True, "mistakes": [], "channels": channels})
        return GOOD
    say(f"{path} is valid.")
    for name, entry in found.channels.items():
        say_folded(f"{name}: {_in_words(entry)}", "  - ", "    ")
    return GOOD


def test(name: str | None, *, as_json: bool) -> int:
    """Send a trial to one channel or all; returns the exit code."""
    try:
        config = settings.load(os.environ)
        entries = read_channels(config).entries
    except SettingsError as error:
        complain(error.mistakes)
        return WRONG_USAGE
    if not entries:
        complain(["there are no channels; REMEDY_CHANNELS names their file"])
        return WRONG_USAGE
    if name is not None and name not in entries:
        hint = near(name, entries) or f"; there are: {', '.join(entries)}"
        complain([f"there is no channel {name!r}{hint}"])
        return WRONG_USAGE
    chosen = entries if name is None else {name: entries[name]}
    outcomes = asyncio.run(_tried(chosen, config))
    for channel, why_not in outcomes.items():
        if as_json:
            say_json({"channel": channel, "taken": why_not is None, "reason": why_not})
        elif why_not is None:
            say(f"{channel}: taken")
        else:
            complain([f"{channel}: {why_not}"])
    return FAILED if any(outcomes.values()) else GOOD


def _in_words(entry: Entry) -> str:
    pace = f"more than {counted(entry.at_most, 'message')} a minute become one summary"
    return f"{entry.type}; {pace}"


async def _tried(entries: Mapping[str, Entry], config: Settings) -> dict[str, str | None]:
    """Why a channel did not take the trial; None: it did."""
    tries = [_why_not(entry, config) for entry in entries.values()]
    return dict(zip(entries, await asyncio.gather(*tries), strict=True))


async def _why_not(entry: Entry, config: Settings) -> str | None:
    mask = Mask()
    sender = Sender(mask)
    channel = channel_of(entry, mask, config.source, time.time)
    told = trial(config)
    try:
        await sender.send(await channel.posts(told))
        if entry.type in ("pagerduty", "alertmanager"):  # nobody is to be paged for long
            await sender.send(await channel.posts(replace(told, is_over=True)))
    except (NotSent, NotTaken, ChannelTrouble) as error:
        return mask.text(str(error))
    finally:
        await sender.close()
    return None
