"""A session that one replica began is good on every other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from keptn_remedy.journal import open_journal
from keptn_remedy.ops.operators import Operator
from keptn_remedy.ops.page.sessions import Sessions, claimed

CLEO = Operator(name="cleo", role="operator", token_sha256="0" * 64)


@pytest.mark.parametrize("number", range(5))
async def test_replicas_that_begin_their_first_session_at_once_share_a_key(
    number: int, tmp_path: Path
) -> None:
    journal = open_journal(tmp_path / "j.db")
    try:
        replicas = [Sessions(journal, lambda: 1.0) for _ in range(3)]
        cookies = await asyncio.gather(*(each.begin(CLEO) for each in replicas))
        for cookie in cookies:
            claim = claimed(cookie)
            assert claim
            assert [await each.is_good(claim, CLEO) for each in replicas] == [True] * 3
    finally:
        await journal.close()
