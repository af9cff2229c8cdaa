"""The client of Keptn's API that the settings describe."""

from __future__ import annotations

from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.api.connections import Connections, tls_of
from keptn_remedy.keptn.api.credentials import Credentials, Login, Secret
from keptn_remedy.keptn.api.oauth import Client, ClientCredentials
from keptn_remedy.settings import PREFIX, KeptnSettings, Settings
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.variables import SettingsError


def api_of(settings: Settings, keptn: KeptnSettings, clock: Clock, mask: Mask) -> ApiClient:
    """The client for `REMEDY_TRANSPORT`. Only polling calls Keptn from outside: through a proxy,
    with certificates of its own, with a login. `mask` hides a token that replaces another.

    Raises:
        SettingsError: something is missing, or can't be read.
    """
    given = keptn.keptn_api_token
    value = given.get_secret_value().strip() if given else ""
    path = keptn.keptn_api_token_file
    token = Secret(value, path, mask.hide) if value or path else None
    if settings.transport != "polling":
        credentials = Credentials(token) if token else None
        return ApiClient(settings.control_plane_url, credentials, clock=clock)
    if settings.keptn_api is None and keptn.keptn_api_endpoint is None:
        raise SettingsError(["KEPTN_API_ENDPOINT: must be set for REMEDY_TRANSPORT=polling"])
    url = str(settings.keptn_api or keptn.keptn_api_endpoint).rstrip("/")
    login = _login(settings, keptn, clock, mask)
    if not keptn.http_ssl_verify:
        logs.logger().warning(
            "Keptn's certificate is not checked: anybody on the way can read the token and send"
            " triggers",
            setting="HTTP_SSL_VERIFY",
        )
    connections = _connections(settings, is_verified=keptn.http_ssl_verify)
    return ApiClient(url, Credentials(token, login), connections, clock)


def _login(settings: Settings, keptn: KeptnSettings, clock: Clock, mask: Mask) -> Login | None:
    given = {
        "OAUTH_CLIENT_ID": keptn.oauth_client_id,
        "OAUTH_CLIENT_SECRET": keptn.oauth_client_secret,
        "OAUTH_DISCOVERY or OAUTH_TOKEN_URL": keptn.oauth_token_url or keptn.oauth_discovery,
    }
    if not any(given.values()):
        return None
    if missing := [name for name, value in given.items() if not value]:
        raise SettingsError([f"{name}: must be set, as another OAUTH_ is" for name in missing])
    secret = keptn.oauth_client_secret
    value = secret.get_secret_value().strip() if secret else ""
    client = Client(
        id=keptn.oauth_client_id or "",
        secret=Secret(value, keptn.oauth_client_secret_file, mask.hide),
        scopes=keptn.oauth_scopes,
        token_url=str(keptn.oauth_token_url) if keptn.oauth_token_url else None,
        discovery_url=str(keptn.oauth_discovery) if keptn.oauth_discovery else None,
    )
    # Always checked: who pretends to be the provider gets the client's secret.
    connections = _connections(settings, is_verified=True)
    return ClientCredentials(client, connections, clock, mask.hide_passing)


def _connections(settings: Settings, *, is_verified: bool) -> Connections:
    path = settings.keptn_ca_file
    try:
        return Connections(tls=tls_of(path, is_verified=is_verified), is_remote=True)
    except OSError as error:
        why = error.strerror or error
        raise SettingsError([f"{PREFIX}KEPTN_CA_FILE: can't read {path}: {why}"]) from None
