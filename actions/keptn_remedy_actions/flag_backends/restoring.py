"""Flags put back one by one: what stops one of them stops no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from keptn_remedy import PermanentError, TemporaryError
from keptn_remedy_actions.flag_backends import LeftAlone, Restored, Switch


class Gone(PermanentError):
    """The flag doesn't exist, or no longer."""


async def restored(
    switches: Sequence[Switch],
    place: str,
    restore: Callable[[Switch], Awaitable[Sequence[str] | None]],
) -> Restored:
    """Call `restore` for each switch, the last one first. It returns what else stays of the change;
    None where the flag was as before already.

    Raises:
        TemporaryError, PermanentError: of a flag that could not be put back, after all were tried.
    """
    put_back, left_alone, remarks = list[str](), list[str](), list[str]()
    failures: list[PermanentError | TemporaryError] = []
    for switch in reversed(switches):
        name = switch.flag.name
        try:
            said = await restore(switch)
        except LeftAlone as error:
            left_alone.append(f"{name} in {place} {error}")
        except Gone as error:
            left_alone.append(f"{name} is gone: {error}")
        except (PermanentError, TemporaryError) as error:
            failures.append(error)
        else:
            if said is not None:
                remarks += said
                put_back.append(name)
    if failures:
        # A temporary error first: another attempt may restore the flag.
        raise min(failures, key=lambda failure: isinstance(failure, PermanentError))
    return Restored(put_back, left_alone, remarks)
