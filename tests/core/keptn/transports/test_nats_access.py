"""How the NATS transport proves who it is, and whom it trusts: on the real server."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keptn_remedy.keptn.transports.nats_access import options_of
from keptn_remedy.settings import Settings
from keptn_remedy.support.variables import SettingsError
from tests.core.keptn.transports.over_nats import Taken, report, transport
from tests.nats_keys import make_certificates, make_credentials, make_key
from tests.nats_server import NatsServer
from tests.waiting import until

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


@asynccontextmanager
async def served(folder: Path, **config: Any) -> AsyncIterator[NatsServer]:
    server = NatsServer(folder / "nats", **config)
    if "operator" in config:
        server.configure(**config, jetstream=False)
    await server.start()
    try:
        yield server
    finally:
        server.stop()


async def test_user_and_password_let_in(tmp_path: Path) -> None:
    users = [{"user": "remedy", "password": "secret"}]
    async with served(tmp_path, authorization={"users": users}) as server:
        await _works(server.url, nats_user="remedy", nats_password="secret")
        await _works(server.url.replace("://", "://remedy:secret@"))


async def test_a_token_lets_in(tmp_path: Path) -> None:
    async with served(tmp_path, authorization={"token": "a-token"}) as server:
        await _works(server.url, nats_token="a-token")


async def test_an_nkey_lets_in_and_may_be_replaced(tmp_path: Path) -> None:
    first, second = make_key(), make_key()
    seed = tmp_path / "seed"
    seed.write_text(first.seed + "\n")
    async with (
        served(tmp_path, authorization={"users": [{"nkey": first.public}]}) as server,
        transport(server.url, Taken(), nats_nkey_file=seed) as ours,
    ):
        await until(lambda: ours.trouble is None)
        server.stop()
        server.configure(authorization={"users": [{"nkey": second.public}]})
        await server.start()
        await until(lambda: "authorization" in str(ours.trouble).lower())
        seed.write_text("half of a se")
        await until(lambda: "doesn't hold a user's seed" in str(ours.trouble))
        seed.write_text(second.seed)
        await until(lambda: ours.trouble is None)


async def test_a_credentials_file_lets_in(tmp_path: Path) -> None:
    credentials = tmp_path / "remedy.creds"
    async with served(tmp_path, **make_credentials(credentials)) as server:
        await _works(server.url, nats_credentials_file=credentials)


@pytest.mark.parametrize("wrong", [{"nats_user": "remedy", "nats_password": "wrong"}, {}])
async def test_who_is_not_let_in_is_told_without_the_password(
    tmp_path: Path, wrong: dict[str, str]
) -> None:
    users = [{"user": "remedy", "password": "secret"}]
    async with (
        served(tmp_path, authorization={"users": users}) as server,
        transport(server.url, Taken(), first_connect_seconds=0.05, **wrong) as ours,
    ):
        await until(lambda: "authorization" in str(ours.trouble).lower())
        assert "wrong" not in str(ours.trouble)


@needs_openssl
async def test_a_server_with_an_own_ca_is_trusted_by_its_file_alone(tmp_path: Path) -> None:
    tls = make_certificates(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    make_certificates(other)
    async with served(tmp_path, tls=tls) as server:
        await _works(server.url, nats_ca_file=tmp_path / "ca.pem")
        await _works(server.url.replace("nats://", "tls://"), nats_ca_file=tmp_path / "ca.pem")
        wrong: list[dict[str, Any]] = [{}, {"nats_ca_file": other / "ca.pem"}]
        for untrusted in wrong:
            async with transport(
                server.url, Taken(), first_connect_seconds=0.05, **untrusted
            ) as ours:
                await until(lambda: "certificate verify failed" in str(ours.trouble))
                assert "\n" not in str(ours.trouble)


@needs_openssl
async def test_a_server_that_offers_tls_is_taken_at_its_word(tmp_path: Path) -> None:
    tls = make_certificates(tmp_path)
    async with served(tmp_path, tls=tls, allow_non_tls=True) as server:
        await _works(server.url, nats_ca_file=tmp_path / "ca.pem")


@needs_openssl
async def test_a_server_without_tls_that_should_have_it_is_refused(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    async with served(tmp_path) as server:
        url = server.url.replace("nats://", "tls://")
        ca = tmp_path / "ca.pem"
        async with transport(url, Taken(), first_connect_seconds=0.05, nats_ca_file=ca) as ours:
            await until(lambda: "offers no TLS" in str(ours.trouble))


async def _works(url: str, **settings: Any) -> None:
    async with transport(url, Taken(), **settings) as ours:
        await until(lambda: ours.trouble is None)
        await ours.send(report())


# Mistakes that end the start


def _mistake(given: Mapping[str, object], url: str = "nats://127.0.0.1") -> str:
    with pytest.raises(SettingsError) as caught:
        options_of(Settings.model_validate(given), url)
    (mistake,) = caught.value.mistakes
    assert "\n" not in mistake
    return mistake


@pytest.mark.parametrize(
    "url", ["", " , ", "http://keptn-nats", "nats://", "nats://h:port", "[::1"]
)
def test_an_address_that_is_none(url: str) -> None:
    assert _mistake({}, url).startswith("PUBSUB_URL: ")


def test_a_password_that_must_be_encoded_is_not_said() -> None:
    mistake = _mistake({}, "nats://remedy:secret#word@127.0.0.1")
    assert "%-encoded" in mistake
    assert "secret" not in mistake


@pytest.mark.parametrize("given", [{"nats_user": "remedy"}, {"nats_password": "secret"}])
def test_a_user_without_password_and_the_other_way_round(given: dict[str, str]) -> None:
    assert _mistake(given) == "REMEDY_NATS_USER and REMEDY_NATS_PASSWORD belong together"


@pytest.mark.parametrize("setting", ["nats_credentials_file", "nats_nkey_file", "nats_ca_file"])
def test_a_file_that_is_missing_or_holds_something_else(tmp_path: Path, setting: str) -> None:
    variable, path = f"REMEDY_{setting.upper()}", tmp_path / "file"
    missing = _mistake({setting: path})
    assert missing == f"{variable}: can't read {path}: No such file or directory"
    for content in (b"", b"\xff\xfe\x00", b"SUAINVALID", make_key("A").seed.encode()):
        path.write_bytes(content)
        mistake = _mistake({setting: path})
        assert mistake.startswith(f"{variable}: ")
        assert str(path) in mistake


def test_credentials_without_their_seed(tmp_path: Path) -> None:
    path = tmp_path / "remedy.creds"
    make_credentials(path)
    path.write_text(path.read_text().partition("-----BEGIN USER NKEY SEED")[0])
    assert "doesn't hold a user's JWT and seed" in _mistake({"nats_credentials_file": path})


def test_the_system_is_trusted_where_no_file_is_named() -> None:
    found = options_of(Settings(), "tls://one, two:4223")
    assert found["servers"] == ["tls://one", "nats://two:4223"]
    assert found["tls"].check_hostname
