"""The value of an execution, from its event or from remediation.yaml, validated for its action."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from keptn_remedy.action import JSON, Context, PermanentError
from keptn_remedy.engine.attempts import Attempts
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.events import ActionTriggered
from keptn_remedy.events.cloud_event import is_array, is_object
from keptn_remedy.registry import Entry
from keptn_remedy.remediation.earlier_rounds import without_leftovers
from keptn_remedy.support import validation
from keptn_remedy.support.authored import Misbehaved, deed
from keptn_remedy.support.near_names import near

MOST_MISTAKES = 5

Elsewhere = Callable[[ActionTriggered], Awaitable[tuple[JSON, tuple[str, ...]]]]


@dataclass(frozen=True, slots=True)
class Values:
    """Finds values. `elsewhere` finds the value of a trigger, and notes about it, in another place
    than its event, where that is configured.
    """

    runtime: Runtime
    elsewhere: Elsewhere | None = None

    async def of(
        self, trigger: ActionTriggered, entry: Entry, attempts: Attempts
    ) -> tuple[Any, tuple[str, ...]]:
        """The value for this round as the action's `Value`, and notes: a leftover of earlier rounds
        was dropped, or remediation.yaml has changed.

        Raises:
            PermanentError: the value does not fit, or remediation.yaml has none.
            TemporaryError: it could not be looked up within all attempts.
        """
        sent, notes = await self._sent(trigger, entry, attempts)
        return validated(entry, sent), notes

    async def _sent(
        self, trigger: ActionTriggered, entry: Entry, attempts: Attempts
    ) -> tuple[JSON, tuple[str, ...]]:
        # A request brings its value.
        if (elsewhere := self.elsewhere) and not trigger.is_request:

            async def fetched(_: Context) -> tuple[JSON, tuple[str, ...]]:
                return await elsewhere(trigger)

            return await attempts.until_done(fetched)
        # Most triggers are of a first round, and are not decoded once more for this.
        if not trigger.may_hold_answers:
            return trigger.value, ()
        journal = self.runtime.journal
        return await self.runtime.insist(lambda: without_leftovers(trigger, entry, journal.trigger))


def validated(entry: Entry, sent: JSON) -> Any:
    """What was sent, as the action's `Value`; nothing counts as an empty map.

    Raises:
        PermanentError: it does not fit. The message names at most five mistakes.
    """
    try:
        return entry.value.validate_python({} if sent is None else sent)
    except ValidationError as error:
        raise PermanentError(_mistakes(error, entry, sent)) from None
    except Exception:
        raise
    except BaseException as error:  # an author's validator; a context manager would cost more
        raise Misbehaved(f"a validator of the action {deed(error)}") from error


def _mistakes(error: ValidationError, entry: Entry, sent: JSON) -> str:
    mistakes = error.errors(include_url=False, include_input=False)
    return "; ".join(_mistake(mistake, entry, sent) for mistake in mistakes[:MOST_MISTAKES])


def _mistake(mistake: Any, entry: Entry, sent: JSON) -> str:
    where = validation.place(mistake, sent)
    is_unknown = mistake["type"] == "extra_forbidden"
    hint = near(where[-1], _fields(entry.schema())) if is_unknown and where else ""
    return f"{'.'.join(('value', *where))}: {validation.in_words(mistake)}{hint}"


def _fields(schema: JSON) -> Iterator[str]:
    """The names of all fields in a JSON Schema."""
    if is_object(schema):
        if is_object(properties := schema.get("properties")):
            yield from properties
        for inner in schema.values():
            yield from _fields(inner)
    elif is_array(schema):
        for inner in schema:
            yield from _fields(inner)
