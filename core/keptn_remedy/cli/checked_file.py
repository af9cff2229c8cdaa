"""Reads the file that `remedy policy`, `sources` or `notify check` is given, and tells mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from keptn_remedy.cli.terminal import FAILED, WRONG_USAGE, complain, reason, say_json
from keptn_remedy.guardrails.policy import PolicyError
from keptn_remedy.notifications.channels_file import ChannelsError
from keptn_remedy.standalone.errors import SourcesError

_Content = TypeVar("_Content")


def load(
    path: Path, of_text: Callable[[str], _Content], what: str, rest: Mapping[str, Any] | None
) -> _Content | int:
    """What the file says; else the exit code, once it is told what is wrong. `what` it should be;
    `rest` as in `refuse`.
    """
    try:
        return of_text(path.read_text("utf-8"))
    except OSError as error:
        complain([f"can't read the {what}: {reason(error)}"])
        return WRONG_USAGE
    except UnicodeDecodeError:
        return refuse([f"{path} is not UTF-8 text"], rest)
    except (PolicyError, SourcesError, ChannelsError) as error:
        return refuse([f"{path}: {mistake}" for mistake in error.mistakes], rest)


def refuse(mistakes: list[str], rest: Mapping[str, Any] | None) -> int:
    """Tell the mistakes; returns the exit code. With `--json` standard output says them, too, and
    `rest` stands beside them; it is None without `--json`.
    """
    if rest is not None:
        say_json({"good": False, "mistakes": mistakes, **rest})
    complain(mistakes)
    return FAILED
