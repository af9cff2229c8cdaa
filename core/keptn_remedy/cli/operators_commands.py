"""`remedy operators`: the file with the people who may sign in on the page."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    complain,
    reason,
    say,
    say_folded,
    say_json,
    table,
)
from keptn_remedy.ops import operators
from keptn_remedy.ops.operators import Operator, Role
from keptn_remedy.support import variables
from keptn_remedy.support.variables import SettingsError


def add(name: str, role: str, file: Path | None, *, new_token: bool, as_json: bool) -> int:
    """Add a person and print the token; returns the exit code."""

    def change(path: Path, known: list[Operator]) -> int:
        token = operators.new_token()
        try:
            added = Operator(
                name=name, role=cast("Role", role), token_sha256=operators.hashed(token)
            )
        except ValidationError:
            complain([f"NAME {name!r} must be up to 64 letters, digits and . _ @ + -"])
            return WRONG_USAGE
        if not new_token and any(it.name == name for it in known):
            complain([f"{name} is in {path} already; --new-token gives them a new token"])
            return FAILED
        operators.write(path, [*(it for it in known if it.name != name), added])
        _show(added, token, path, as_json=as_json)
        return GOOD

    return _changed(file, change)


def list_all(file: Path | None, *, as_json: bool) -> int:
    """Print all people; returns the exit code."""

    def show(path: Path) -> int:
        known = operators.read(path)
        if as_json:
            for each in known:
                say_json({"name": each.name, "role": each.role})
        else:
            table(("NAME", "ROLE"), [(each.name, each.role) for each in known])
        return GOOD

    return _on_file(file, show)


def remove(name: str, file: Path | None) -> int:
    """Remove a person; returns the exit code."""

    def change(path: Path, known: list[Operator]) -> int:
        left = [it for it in known if it.name != name]
        if len(left) == len(known):
            complain([f"{name} is not in {path}"])
            return FAILED
        operators.write(path, left)
        say(f"{name} is removed from {path}")
        return GOOD

    return _changed(file, change)


def _changed(file: Path | None, work: Callable[[Path, list[Operator]], int]) -> int:
    def change(path: Path) -> int:
        with operators.changing(path):
            return work(path, operators.read(path))

    return _on_file(file, change)


def _on_file(file: Path | None, work: Callable[[Path], int]) -> int:
    try:
        found = variables.read(os.environ)
        path = file or _path(found)
        if path is None:
            complain(["name the file: set REMEDY_OPERATORS_FILE, or give --file"])
            return WRONG_USAGE
        return work(path)
    except SettingsError as error:
        complain(error.mistakes)
        return WRONG_USAGE
    except OSError as error:
        complain([f"can't write the file: {reason(error)}"])
        return FAILED


def _path(found: Mapping[str, str]) -> Path | None:
    named = found.get(operators.VARIABLE)
    return Path(named) if named else None


def _show(added: Operator, token: str, path: Path, *, as_json: bool) -> None:
    if as_json:
        say_json({"name": added.name, "role": added.role, "token": token})
        return
    say_folded(f"{added.name} is {_an(added.role)} in {path}. The token, shown only now:")
    say(token)


def _an(role: Role) -> str:
    return f"{'a' if role == 'viewer' else 'an'} {role}"
