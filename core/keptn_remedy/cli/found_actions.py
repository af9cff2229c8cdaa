"""The actions as the service would find them, for the commands that name one."""

from __future__ import annotations

from collections.abc import Mapping

from keptn_remedy import registry, settings, settings_file
from keptn_remedy.registry import Registry
from keptn_remedy.settings import KeptnSettings
from keptn_remedy.support import variables
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.near_names import near


def discover(environ: Mapping[str, str]) -> Registry:
    """All actions of the installed packages and of `REMEDY_ACTIONS_DIR`.

    Raises:
        SettingsError, RegistryError: with one line per mistake.
    """
    config, found = settings.load(environ), variables.read(environ)
    actions = registry.configured(found, config)
    settings_file.check(environ, actions)
    return actions


def mask(environ: Mapping[str, str]) -> Mask:
    """Hides the secrets that the service would find in these variables.

    Raises:
        SettingsError, RegistryError: with one line per mistake.
    """
    from keptn_remedy.service.foundation import secrets_in  # imports the network libraries

    keptn = variables.build(KeptnSettings, "", variables.read(environ))
    return Mask(secrets_in(discover(environ), keptn))


def unknown(found: Registry, name: str) -> str:
    """The mistake of naming an action that does not exist."""
    spelled = [spelling for each in found.names.values() for spelling in each]
    names = ", ".join(entry.name for entry in found.entries)
    broken = ", ".join(broken.origin for broken in found.broken)
    perhaps = f"; these can't be used, see `remedy actions`: {broken}" if broken else ""
    meant = near(name, spelled) or f"; the actions are {names}"
    return f"there is no action {name!r}{meant}{perhaps}"
