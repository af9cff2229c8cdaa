"""Keys and certificates as NATS uses them, made anew for each test."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
import orjson

_ROLES = {
    "O": nkeys.PREFIX_BYTE_OPERATOR,
    "A": nkeys.PREFIX_BYTE_ACCOUNT,
    "U": nkeys.PREFIX_BYTE_USER,
}
CREDENTIALS = """-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


@dataclass(frozen=True)
class Key:
    """An NKey."""

    seed: str
    public: str

    def sign(self, subject: Key, name: str, nats: dict[str, Any]) -> str:
        """A JWT about the subject, in the form of NATS."""
        claims: dict[str, Any] = {
            "iat": int(time.time()),
            "iss": self.public,
            "name": name,
            "sub": subject.public,
            "nats": {"version": 2, **nats},
        }
        digest = hashlib.new("sha512_256", orjson.dumps(claims)).digest()
        claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        signed = f"{_encoded(orjson.dumps(head))}.{_encoded(orjson.dumps(claims))}"
        signature = nkeys.from_seed(bytearray(self.seed.encode())).sign(signed.encode())
        return f"{signed}.{_encoded(signature)}"


def make_key(role: str = "U") -> Key:
    """A key of a user, an account or an operator."""
    seed = nkeys.encode_seed(os.urandom(32), _ROLES[role])
    return Key(seed.decode(), bytes(nkeys.from_seed(bytearray(seed)).public_key).decode())


def make_credentials(path: Path) -> dict[str, Any]:
    """Write a user's credentials as `nsc` does; returns the configuration of their server."""
    operator, account, user = make_key("O"), make_key("A"), make_key("U")
    limits = {"subs": -1, "data": -1, "payload": -1}
    of_account = {**limits, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
    account_jwt = operator.sign(account, "KEPTN", {"type": "account", "limits": of_account})
    user_jwt = account.sign(user, "remedy", {"type": "user", **limits})
    path.write_text(CREDENTIALS.format(jwt=user_jwt, seed=user.seed))
    return {
        "operator": operator.sign(operator, "OPERATOR", {"type": "operator"}),
        "resolver": "MEMORY",
        "resolver_preload": {account.public: account_jwt},
    }


def make_certificates(folder: Path) -> dict[str, Any]:
    """Write an own CA to `ca.pem`; returns the TLS configuration of a server it vouches for."""
    _openssl(
        folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=own CA",
        "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip
    _openssl(
        folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost",
    )  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    _openssl(
        folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
        "-CAcreateserial", "-out", "server.pem", "-days", "2", "-extfile", "names",
    )  # fmt: skip
    return {"cert_file": str(folder / "server.pem"), "key_file": str(folder / "server.key")}


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["openssl", *arguments],  # noqa: S607 - wherever it is
        cwd=folder,
        check=True,
        capture_output=True,
    )


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
