"""Questions to people, and their verdicts, in the journal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from keptn_remedy.journal import rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.notified import note
from keptn_remedy.journal.store import Cursor, Store
from keptn_remedy.journal.values import Execution, Question, State, Verdict

# Times that went through text are not exact.
SAME_SECONDS = 0.001
_BY_SILENCE: dict[str, Verdict] = {"approve": "approved", "deny": "denied"}


class SqlQuestions(Store):
    """The part of the journal that keeps questions."""

    async def ask(self, execution: Execution, question: Question) -> None:
        key = f"asked {execution.id} {question.asked_at}"
        await self._write_for(
            execution.handle,
            (sql.ASK, _bound(question, execution.handle)),
            note(key, "asked", execution.id, question.asked_at),
        )

    async def answer(
        self,
        execution_id: str,
        verdict: Verdict,
        by: str,
        reason: str | None,
        *,
        asked_at: float | None = None,
    ) -> str | None:
        def answer(cursor: Cursor) -> str | None:
            row = cursor.execute(sql.ASKED, (execution_id,)).fetchone()
            if row is None:
                return "there is no such execution"
            seq, state, text = row
            question = rows.question_of(text)
            if question is None or state == "finished" or question.verdict:
                return _unanswerable(state, question)
            if verdict == "approved" and cursor.execute(sql.PAUSED).fetchone():
                return "nothing may act during a pause; resume first"
            if self._now() >= question.expires_at:  # only now is it our turn
                return _late(question)
            if asked_at is not None and abs(asked_at - question.asked_at) > SAME_SECONDS:
                return "it asks something else by now"
            answered = replace(question, verdict=verdict, by=by, reason=reason)
            cursor.execute(sql.ANSWER, _bound(answered, seq))
            return None

        return await self._run(answer)

    async def close_question(self, execution: Execution) -> Question | None:
        def close(cursor: Cursor) -> Question | None:
            row = cursor.execute(sql.ASKED_BY_OPEN, (execution.id,)).fetchone()
            question = rows.question_of(row[2]) if row else None
            if question is None or question.verdict:
                return question
            closed = replace(question, verdict=_BY_SILENCE[question.default])
            cursor.execute(sql.ANSWER, _bound(closed, execution.handle))
            return closed

        return await self._run(close)

    async def answered(self) -> list[str]:
        return [row[0] for row in await self._rows(sql.ANSWERED, ())]

    async def questions(self, limit: int) -> list[Execution]:
        return await self._executions(sql.QUESTIONS, (limit,))


def _bound(question: Question, seq: int) -> dict[str, Any]:
    return {"question": orjson.dumps(question), "verdict": question.verdict, "seq": seq}


def _unanswerable(state: State, question: Question | None) -> str:
    if question and question.verdict:
        by = question.by
        return f"it was {question.verdict} by {by} already" if by else _late(question)
    if state == "finished":
        return "the execution has finished"
    return "the execution asks nothing"


def _late(question: Question) -> str:
    return f"nobody answered in time, so it was {_BY_SILENCE[question.default]}"
