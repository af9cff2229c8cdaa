"""A remote execution plane behind a login, over TLS with certificates of one's own: the process."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from keptn_remedy.testing import http_peer, triggered
from keptn_remedy.testing.polling_keptn import PollingKeptn
from tests.end_to_end.provider_process import ProviderProcess
from tests.nats_keys import make_certificates
from tests.tls_front import TlsFront, tls_front
from tests.waiting import until

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
DISCOVERY = "/.well-known/openid-configuration"


@dataclass(frozen=True)
class Remote:
    """A Keptn and its identity provider, both behind TLS that `ca` vouches for."""

    keptn: PollingKeptn
    gateway: TlsFront
    environment: dict[str, str]
    ca: Path


@asynccontextmanager
async def remote(folder: Path) -> AsyncIterator[Remote]:
    tls = make_certificates(folder)
    async with (
        PollingKeptn() as keptn,
        http_peer() as identity,
        tls_front(keptn.url, tls) as gateway,
        tls_front(identity.url, tls) as login,
    ):
        identity.answer(json={"token_endpoint": f"{login.url}/token"})
        identity.answer(json={"access_token": "an-access-token", "expires_in": 300}, times=None)
        environment = {
            "KEPTN_API_ENDPOINT": f"{gateway.url}/api",
            "OAUTH_CLIENT_ID": "remedy",
            "OAUTH_CLIENT_SECRET": "the-secret",
            "OAUTH_DISCOVERY": f"{login.url}{DISCOVERY}",
        }
        yield Remote(keptn, gateway, environment, folder / "ca.pem")


async def test_a_trigger_is_answered_behind_a_login_with_an_own_ca(tmp_path: Path) -> None:
    async with (
        remote(tmp_path) as way,
        ProviderProcess(
            tmp_path / "provider", way.keptn, way.environment, keptn_ca_file=way.ca
        ) as provider,
    ):
        await provider.start()
        event = triggered("run-often", {})
        await way.keptn.deliver(event)
        assert (await way.keptn.task_finished(event["id"])).result == "pass"
        assert b"Authorization: Bearer an-access-token" in way.gateway.passed_on
        assert (await provider.stop()).code == 0
        for secret in ("the-secret", "an-access-token"):
            assert secret not in provider.log.read_text()


async def test_a_certificate_that_nobody_vouches_for_is_told_in_one_line(tmp_path: Path) -> None:
    async with (
        remote(tmp_path) as way,
        ProviderProcess(tmp_path / "provider", way.keptn, way.environment) as provider,
    ):
        event = triggered("run-often", {})
        way.keptn.expect_unanswered(event["id"])
        await way.keptn.deliver(event)
        await provider.start()
        await until(lambda: "isn't trusted" in provider.log.read_text())
        assert (await provider.stop()).code == 0
        lines = [json.loads(line) for line in provider.log.read_text().splitlines()]
        (told,) = [line for line in lines if "isn't trusted" in str(line)]
        assert told["message"] == "not registered with Keptn"
        assert told["reason"].endswith(
            "has a certificate that isn't trusted: unable to get local issuer certificate"
        )
        assert not any("Traceback" in str(line) for line in lines)
        assert way.gateway.passed_on == b""
