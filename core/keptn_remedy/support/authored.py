"""What an author's code raises: it stays that code's own error, whatever it is."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard


class Misbehaved(Exception):
    """An author's code raised what would have ended more than itself, such as SystemExit."""


def deed(error: BaseException) -> str:
    """What the code did: `called sys.exit(4)`, or `raised` and the error."""
    if isinstance(error, SystemExit):
        return f"called {exit_call(error)}"
    return f"raised {type(error).__name__}"


def exit_call(error: SystemExit) -> str:
    """The call that raised it. A text is left out: it may be anything."""
    if error.code is None:
        return "sys.exit()"
    return f"sys.exit({error.code if isinstance(error.code, int) else '…'})"


@contextmanager
def contained(whose: str = "the action") -> Generator[None]:
    """Call an author's code that awaits nothing.

    Raises:
        Misbehaved: instead of what is no `Exception`.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        raise Misbehaved(f"{whose} {deed(error)}") from error


def is_async(method: Callable[..., object]) -> TypeGuard[Callable[..., Coroutine[Any, Any, Any]]]:
    """Whether calling it only makes a coroutine; else it may block, and belongs in a thread."""
    code = getattr(method, "__code__", None)
    if code is not None and code.co_flags & inspect.CO_COROUTINE:
        return True
    return inspect.iscoroutinefunction(inspect.unwrap(method))


def line_in(file: str, error: BaseException) -> int | None:
    """The innermost line of the file at which it was raised; None if it wasn't raised there."""
    names = (file, str(Path(file).absolute()))  # which one depends on how it was imported
    if isinstance(error, SyntaxError) and error.filename in names:
        return error.lineno
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename in names]
    return lines[-1] if lines else None
