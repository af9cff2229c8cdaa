"""Certificates of Keptn's API: which are trusted, and in which words the others are refused."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.api import connections as connections_module
from keptn_remedy.keptn.api.connections import Connections, tls_of
from keptn_remedy.testing import http_peer

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="openssl makes the certificates")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates for 127.0.0.1 that vouch for themselves: `good.pem`, and `expired.pem`."""
    made = tmp_path_factory.mktemp("certificates")
    (made / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    run(made, f"req -new {curve} -keyout key.pem -out request.pem -subj /CN=keptn")
    for name, days in (("good", 1), ("expired", -1)):
        sign = "x509 -req -in request.pem -signkey key.pem -extfile names"
        run(made, f"{sign} -days {days} -out {name}.pem")
    return made


def run(folder: Path, command: str) -> None:
    subprocess.run([str(OPENSSL), *command.split()], cwd=folder, check=True, capture_output=True)


@asynccontextmanager
async def keptn(folder: Path, certificate: str) -> AsyncIterator[int]:
    """The port of an API with this certificate."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / certificate, folder / "key.pem")
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def asked(url: str, tls: ssl.SSLContext | bool) -> str:
    """What comes of a request: its status, or why there was none."""
    api = ApiClient(url, connections=Connections(tls=tls, is_remote=True))
    reply = await api.get("v1/auth", {})
    await api.close()
    assert not reply.doubtful
    return reply.reason


async def test_a_certificate_of_ones_own_is_trusted_where_its_file_is_given(folder: Path) -> None:
    async with keptn(folder, "good.pem") as port:
        url = f"https://127.0.0.1:{port}/api"
        assert await asked(url, tls_of(folder / "good.pem", is_verified=True)) == "answered 200"
        said = await asked(url, tls_of(None, is_verified=True))
        assert said == "has a certificate that isn't trusted: self-signed certificate"
        assert await asked(url, tls_of(None, is_verified=False)) == "answered 200"


async def test_an_expired_certificate_and_a_wrong_name_are_told(folder: Path) -> None:
    trusted = tls_of(folder / "expired.pem", is_verified=True)
    async with keptn(folder, "expired.pem") as port:
        said = await asked(f"https://127.0.0.1:{port}/api", trusted)
        assert said == "has a certificate that isn't trusted: certificate has expired"
    async with keptn(folder, "good.pem") as port:
        said = await asked(
            f"https://localhost:{port}", tls_of(folder / "good.pem", is_verified=True)
        )
        assert said.startswith("has a certificate that isn't trusted: Hostname mismatch")


async def test_plain_http_where_tls_is_expected_is_told() -> None:
    async with http_peer() as peer:
        said = await asked(peer.url.replace("http:", "https:"), tls_of(None, is_verified=True))
    assert said.startswith("can't be reached: ")


def test_a_file_without_certificates_is_refused(folder: Path) -> None:
    with pytest.raises(OSError, match=r"(?i)certificate|PEM|no start line"):
        tls_of(folder / "names", is_verified=True)
    with pytest.raises(FileNotFoundError):
        tls_of(folder / "none.pem", is_verified=True)


async def test_an_answer_that_does_not_come_leaves_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "REMOTE_SECONDS", 0.1)
    async with http_peer() as peer:
        api = ApiClient(peer.url, connections=Connections(is_remote=True))
        with peer.hold():
            reply = await api.post("v1/event", b"{}")
        await api.close()
    assert (reply.reason, reply.doubtful) == ("didn't answer within 0.1 s", True)
