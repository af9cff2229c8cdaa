"""The channels that the settings name, ready to use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from keptn_remedy.notifications.channels import Channel
from keptn_remedy.notifications.channels.alertmanager import Alertmanager
from keptn_remedy.notifications.channels.pagerduty import PagerDuty
from keptn_remedy.notifications.channels.slack import Slack
from keptn_remedy.notifications.channels.teams import Teams
from keptn_remedy.notifications.channels.webhook import Webhook
from keptn_remedy.notifications.channels_file import (
    AlertmanagerEntry,
    ChannelsError,
    ChannelsFile,
    Entry,
    PagerDutyEntry,
    SlackEntry,
    TeamsEntry,
)
from keptn_remedy.notifications.routes import Routes
from keptn_remedy.notifications.secret_file import SecretFile
from keptn_remedy.settings import Settings
from keptn_remedy.support.masking import Mask, secrets_of
from keptn_remedy.support.mounted_files import content_of, why_unreadable
from keptn_remedy.support.reading import MAX_BYTES
from keptn_remedy.support.variables import SettingsError


@dataclass(frozen=True, slots=True)
class SetUp:
    """The channels by name, and who hears what on them."""

    entries: Mapping[str, Entry]
    routes: Routes


def read_channels(settings: Settings) -> SetUp:
    """What REMEDY_CHANNELS and REMEDY_NOTIFY say.

    Raises:
        SettingsError: with one line per mistake.
    """
    path = settings.channels
    if path is None:
        if settings.notify:
            raise SettingsError(["REMEDY_NOTIFY: REMEDY_CHANNELS must name the file of channels"])
        return SetUp({}, Routes((), None))
    try:
        file = ChannelsFile.load(content_of(path, MAX_BYTES + 1).text)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"REMEDY_CHANNELS: can't read {path}: {_why(error)}"]) from None
    except ChannelsError as error:
        raise SettingsError([f"{path}: {mistake}" for mistake in error.mistakes]) from None
    return SetUp(file.channels, Routes(file.channels, settings.notify or None))


def channel_of(entry: Entry, mask: Mask, source: str, now: Callable[[], float]) -> Channel:
    """The channel of an entry. `source` names us; `now` is the Unix time in seconds."""

    def file(path: Path) -> SecretFile:
        return SecretFile(path, mask)

    mask.hide(*secrets_of(entry))
    if isinstance(entry, SlackEntry):
        return Slack(file(entry.url_file))
    if isinstance(entry, TeamsEntry):
        return Teams(file(entry.url_file))
    if isinstance(entry, PagerDutyEntry):
        return PagerDuty(URL(str(entry.url)), file(entry.key_file), source)
    token = file(entry.token_file) if entry.token_file else None
    if isinstance(entry, AlertmanagerEntry):
        return Alertmanager([URL(str(url)) for url in entry.urls], token, now)
    url = file(entry.url_file) if entry.url_file else URL(str(entry.url))
    secret = file(entry.secret_file) if entry.secret_file else None
    return Webhook(url, source, now, secret=secret, token=token)


def _why(error: OSError | UnicodeDecodeError) -> str:
    return why_unreadable(error) if isinstance(error, OSError) else "it is not UTF-8 text"
