"""Faults of a `FakeKeptn`'s API, and what was asked of it."""

from __future__ import annotations

from typing import Final, Literal

from keptn_remedy.testing.keptn_api import ENDPOINTS, Endpoint, KeptnApi

_OF_CONTROL_PLANE: Final[tuple[Endpoint, ...]] = tuple(n for n in ENDPOINTS if n != "resource")


class ApiFaults:
    """The calls of a test that make endpoints fail, and let them recover."""

    _api: KeptnApi  # of the FakeKeptn

    @property
    def asked(self) -> list[str]:
        """The path and query of each request to the API, in order."""
        return self._api.asked

    def fail_at(self, endpoint: Endpoint, status: int = 503) -> None:
        """Answer requests to this endpoint of the API with this status, until `recover`."""
        self._api.failing[endpoint] = status

    def hang_up_at(self, endpoint: Endpoint) -> None:
        """Close the connection of requests to this endpoint, until `recover`."""
        self._api.failing[endpoint] = None

    def answer_empty_at(self, endpoint: Literal["triggered", "sequence-execution"]) -> None:
        """Answer requests to this endpoint with 200 and an empty list, until `recover`."""
        self._api.empty.add(endpoint)

    def recover(self, endpoint: Endpoint) -> None:
        """Answer requests to this endpoint normally again."""
        self._api.failing.pop(endpoint, None)
        self._api.empty.discard(endpoint)

    @property
    def api_status(self) -> int | None:
        """The status that everything under `/controlPlane` answers; None while it works."""
        return self._api.failing.get("triggered")

    @api_status.setter
    def api_status(self, status: int | None) -> None:
        for endpoint in _OF_CONTROL_PLANE:
            self._fail(endpoint, status)

    @property
    def sequence_api_status(self) -> int | None:
        """The status that `sequence-execution` answers; None while it works."""
        return self._api.failing.get("sequence-execution")

    @sequence_api_status.setter
    def sequence_api_status(self, status: int | None) -> None:
        self._fail("sequence-execution", status)

    def _fail(self, endpoint: Endpoint, status: int | None) -> None:
        self.recover(endpoint)
        if status is not None:
            self.fail_at(endpoint, status)
