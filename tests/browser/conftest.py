"""One browser for all tests, in one worker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.pages import chromium, why_no_browser


@pytest.hookimpl(tryfirst=True)  # xdist reads its marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The Chromium of this machine."""
    if reason := why_no_browser():
        pytest.skip(reason)
    async with chromium() as found:
        yield found
