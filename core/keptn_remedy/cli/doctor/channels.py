"""What `remedy doctor` says of the channels of notifications. Nothing is sent to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from yarl import URL

from keptn_remedy.action import Finding
from keptn_remedy.cli.doctor.examined import Examined
from keptn_remedy.support.proxy import proxy_for
from keptn_remedy.support.variables import SettingsError

if TYPE_CHECKING:
    from keptn_remedy.notifications.channels_file import Entry

CONNECT_SECONDS = 3.0


async def channels(examined: Examined) -> AsyncIterator[Finding]:
    """Whether each channel's secrets can be read, and its host can be reached."""
    # They import the network libraries.
    from keptn_remedy.notifications.secret_file import ChannelTrouble
    from keptn_remedy.notifications.set_up import channel_of, read_channels
    from keptn_remedy.notifications.trial import trial

    config = examined.settings
    try:
        entries = read_channels(config).entries
    except SettingsError as error:
        yield Finding("channels", False, error.mistakes[0], "remedy notify check FILE")
        return

    async def looked_at(name: str, entry: Entry) -> Finding:
        channel = channel_of(entry, examined.mask, config.source, time.time)
        try:
            urls = [post.url for post in await channel.posts(trial(config))]
        except ChannelTrouble as error:
            return Finding(f"channel {name}", False, str(error), "write that file")
        return await _reached(f"channel {name}", urls, f"remedy notify test {name}")

    looks = (looked_at(name, entry) for name, entry in entries.items())
    for finding in await asyncio.gather(*looks):
        yield finding


async def _reached(about: str, urls: Sequence[URL], test: str) -> Finding:
    hosts = ", ".join(f"{url.host}:{url.port}" for url in urls)
    failures = [*filter(None, await asyncio.gather(*map(_why_not, urls)))]
    if len(failures) == len(urls):
        to_do = "check its address, the network and the proxy"
        return Finding(about, False, "; ".join(failures), to_do)
    return Finding(about, True, f"{hosts} can be reached; {test} sends a trial")


async def _why_not(url: URL) -> str | None:
    """Why the host, or the proxy before it, takes no connection."""
    try:
        to = proxy_for(url) or url
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(to.host, to.port)
        writer.close()
    except (OSError, ValueError) as error:
        return f"{url.host}: {str(error) or 'no answer'}"
    return None
