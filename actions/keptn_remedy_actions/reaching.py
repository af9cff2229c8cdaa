"""Why there was no connection, or no answer, in words for people."""

from __future__ import annotations

import os

from aiohttp import ClientConnectorCertificateError, ClientConnectorError, ClientError


def why_unreached(error: ClientError | TimeoutError) -> str:
    """The reason alone, as the end of a sentence that names the peer."""
    if isinstance(error, ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
        return f"its certificate isn't trusted: {why}"
    if isinstance(error, ClientConnectorError):
        cause = error.os_error
        if cause.errno is None or cause.errno <= 0:  # from the resolver
            return cause.strerror or str(cause)
        return os.strerror(cause.errno)
    return str(error) or type(error).__name__
