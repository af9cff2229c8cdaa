"""Finds the entry of remediation.yaml that answers a problem, in a folder of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, cast, get_args

from keptn_remedy.action import PermanentError
from keptn_remedy.guardrails.units import seconds
from keptn_remedy.remediation.file import FILE, MAX_BYTES, as_map, as_text, parsed
from keptn_remedy.standalone import shipyard, sli, slo
from keptn_remedy.standalone.promql import comparison
from keptn_remedy.standalone.rules import Criterion, Kind, OnFailed, OnUnknown, Remedy
from keptn_remedy.support.near_names import near

T = TypeVar("T")

API_VERSION: Final = "spec.keptn.sh/0.1.4"
DEFAULT: Final = "default"
_TIMES = {"wait": "wait", "window": "window", "hold_for": "hold_for"}
_FIELDS: Mapping[Kind, tuple[str, ...]] = {
    "alert": ("evidence",),
    "promql": ("query", "want", "evidence", "worse_by"),
    "slo": ("evidence", "worse_by"),
}
_KNOWN = ("alert", "promql", "slo", "window", "hold_for", "on_unknown")


class Matched(NamedTuple):
    """The stored form of an entry and the digest of its file; or None, and why there is none."""

    entry: dict[str, Any] | None
    digest: str = ""
    why: str = ""


def find(
    folder: Path,
    place: Sequence[str],
    names: Sequence[str],
    labels: Mapping[str, str] | None = None,
) -> Matched:
    """The entry for the first of these names, or for `default`, in the file of the service, or else
    of its stage or its project; with the objectives that its rungs are judged by. `labels` are
    those of the alert. It reads files, so it belongs into a thread.
    """
    try:
        found = next(read_levels(folder, place, FILE), None)
        if found is None:
            return Matched(None, why=f"there is no {FILE} for {'/'.join(place)}")
        matched = _in(*found, names)
        rounds = None
        if len(place) > 1:
            rounds = _of_shipyard(folder, place[0], partial(shipyard.rounds, stage=place[1]))
    except PermanentError as error:
        return Matched(None, why=str(error))
    if matched.entry and rounds:
        listed = matched.entry["rungs"]
        matched.entry["rungs"] = [*_in_rounds(listed, rounds)]
        matched.entry["unreached"] = len(listed) - len(matched.entry["rungs"])
    for rung in (matched.entry or {}).get("rungs", ()):
        if rung["criterion"]["kind"] == "slo":
            rung["criterion"]["slo"] = slo_of(folder, place, labels or {})
    return matched


def check_shipyard(folder: Path, project: str) -> None:
    """Raises PermanentError if the project's shipyard.yaml can't be used; the message says why."""
    _of_shipyard(folder, project, shipyard.check)


def _of_shipyard(folder: Path, project: str, read: Callable[[Any], T]) -> T | None:
    """What is read in the project's shipyard.yaml; None where there is none."""
    for path, content in read_levels(folder, (project,), shipyard.FILE):
        document = _shipyard(content, str(path))
        try:
            return read(document)
        except PermanentError as error:
            raise PermanentError(f"{path}: {error}") from None
    return None


@lru_cache(maxsize=16)
def _shipyard(content: bytes, path: str) -> Any:
    """Its document, kept as the `entries` of a remediation.yaml are: nobody changes it."""
    return parsed(content, path)


def _in_rounds(rungs: Sequence[dict[str, Any]], it: shipyard.Rounds) -> Iterator[dict[str, Any]]:
    """The rungs that are reached, with the times of the shipyard where they have none."""
    given = {"wait": it.wait, "window": it.window, "on_action_failed": it.on_action_failed}
    for rung in rungs if it.climbs else rungs[:1]:
        yield rung | {name: value for name, value in given.items() if rung[name] is None}


def slo_of(folder: Path, place: Sequence[str], labels: Mapping[str, str]) -> dict[str, Any]:
    """The nearest slo.yaml of a place with the query of each indicator; or `why` there is none."""
    try:
        found = next(read_levels(folder, place, slo.FILE), None)
        if found is None:
            return {"why": f"there is no {slo.FILE} for {'/'.join(place)}"}
        path, content = found
        document = parsed(content, str(path))
        read = _objectives(path, document)
        named: dict[str, str] = {}
        for path, content in reversed([*read_levels(folder, place, sli.FILE)]):
            named |= sli.indicators(parsed(content, str(path)))
    except PermanentError as error:
        return {"why": str(error)}
    project, stage, service = (*place, "", "")[:3]
    about = sli.About(project, stage, service, labels, read.filters)
    queries = {each.sli: sli.query(each.sli, named, about) for each in read.objectives}
    return {"document": document, "queries": queries}


def read_levels(folder: Path, place: Sequence[str], name: str) -> Iterator[tuple[Path, bytes]]:
    """The files of that name of a place, the nearest first.

    Raises:
        PermanentError: one can't be read.
    """
    for length in range(len(place), 0, -1):
        path = folder.joinpath(*place[:length], name)
        try:
            with path.open("rb") as file:
                yield path, file.read(MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise PermanentError(f"{path} can't be read: {error.strerror}") from None


def _objectives(path: Path, document: Any) -> slo.Objectives:
    try:
        return slo.objectives(document)
    except PermanentError as error:
        raise PermanentError(f"{path}: {error}") from None


def _in(path: Path, content: bytes, names: Sequence[str]) -> Matched:
    try:
        listed = entries(content)
    except PermanentError as error:
        raise PermanentError(f"{path}: {error}") from None
    if found := hit(listed, names):
        problem_type, rungs = found
        if not rungs:
            return Matched(None, why=f"{path}: {problem_type!r} has no actions")
        entry = {"problem_type": problem_type, "rungs": [asdict(each) for each in rungs]}
        return Matched(entry, sha256(content).hexdigest()[:12])
    said = ", ".join(repr(each) for each in names)
    near_one = near(next(iter(names), ""), [each for each, _ in listed])
    return Matched(None, why=f"{path} has no entry for {said}, and none for {DEFAULT}{near_one}")


def hit(
    listed: Sequence[tuple[str, Sequence[Remedy]]], names: Sequence[str]
) -> tuple[str, Sequence[Remedy]] | None:
    """The entry that answers these names, as Keptn picks it: the first of the first name that has
    one, else of `default`; also if it has no actions.
    """
    for name in (*names, DEFAULT):
        for entry in listed:
            if entry[0] == name:
                return entry
    return None


@lru_cache(maxsize=64)
def entries(content: bytes) -> list[tuple[str, list[Remedy]]]:
    """The problem types of a file with their actions, in its order. Many problems at once read the
    same file: what it says is kept.

    Raises:
        PermanentError: the file can't be used; the message says why.
    """
    document = as_map(parsed(content))
    if document.get("apiVersion") != API_VERSION:
        raise PermanentError(f"apiVersion must be {API_VERSION}, the only one that Keptn reads")
    listed = as_map(document.get("spec")).get("remediations")
    found: list[tuple[str, list[Remedy]]] = []
    for each in map(as_map, _list(listed, "spec.remediations")):
        written = each.get("problemType")
        # Keptn compares it letter by letter, spaces too.
        problem_type = written if isinstance(written, str) else as_text(written)
        actions = _list(each.get("actionsOnOpen"), f"actionsOnOpen of {problem_type!r}")
        where = f"{problem_type!r}, action"
        found.append(
            (problem_type, [_remedy(as_map(a), f"{where} {n}") for n, a in enumerate(actions, 1)])
        )
    return found


def _list(found: Any, what: str) -> Sequence[Any]:
    if found is None:
        return ()
    if not isinstance(found, list):
        raise PermanentError(f"{what} must be a list")
    return cast("Sequence[Any]", found)


def _remedy(fields: Mapping[str, Any], where: str) -> Remedy:
    action = as_text(fields.get("action"))
    if not action:
        raise PermanentError(f"{where}: action is missing")
    evaluation = fields.get("evaluation")
    if evaluation is not None and not isinstance(evaluation, dict):
        raise PermanentError(f"{where}: evaluation must be a map")
    judged = as_map(evaluation)
    if unknown := [each for each in judged if each not in _KNOWN]:
        raise PermanentError(
            f"{where}, evaluation: there is no {unknown[0]!r}{near(unknown[0], _KNOWN)}"
        )
    return Remedy(
        action=action,
        name=as_text(fields.get("name")),
        description=as_text(fields.get("description")),
        value=fields.get("value"),
        wait=_seconds(fields.get("wait"), f"{where}, wait"),
        window=_seconds(judged.get("window"), f"{where}, window"),
        hold_for=_seconds(judged.get("hold_for"), f"{where}, hold_for"),
        on_unknown=_choice(judged.get("on_unknown"), get_args(OnUnknown), where, "on_unknown"),
        on_action_failed=_choice(
            fields.get("on_action_failed"), get_args(OnFailed), where, "on_action_failed"
        ),
        criterion=_criterion(judged, where),
    )


def _criterion(judged: Mapping[str, Any], where: str) -> Criterion:
    kinds = [kind for kind in get_args(Kind) if kind in judged]
    if len(kinds) > 1:
        raise PermanentError(f"{where}: evaluation has {' and '.join(kinds)}; one of them counts")
    kind = cast("Kind", kinds[0] if kinds else "alert")
    given = as_map(judged.get(kind))
    known = _FIELDS[kind]
    if unknown := [each for each in given if each not in known]:
        raise PermanentError(
            f"{where}, {kind}: there is no {unknown[0]!r}{near(unknown[0], known)}"
        )
    query, want = as_text(given.get("query")), as_text(given.get("want"))
    if kind == "promql":
        if not query or not want:
            raise PermanentError(f"{where}: promql needs query and want, such as '< 0.01'")
        if comparison(want) is None:
            raise PermanentError(f"{where}: want must be a comparison, such as '< 0.01'")
    worse_by = given.get("worse_by")
    if worse_by is not None and (isinstance(worse_by, bool) or not _is_number(worse_by)):
        raise PermanentError(f"{where}: worse_by must be a number")
    return Criterion(
        kind=kind,
        query=query,
        want=want,
        evidence=as_text(given.get("evidence")),
        worse_by=None if worse_by is None else float(worse_by),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


def _seconds(written: Any, where: str) -> float | None:
    if written is None:
        return None
    try:
        return seconds(written)
    except ValueError as error:
        raise PermanentError(f"{where} {error}") from None


def _choice(written: Any, choices: Sequence[str], where: str, what: str) -> Any:
    if written is None or written in choices:
        return written
    meant = near(str(written), choices)
    raise PermanentError(f"{where}: {what} must be one of {', '.join(choices)}{meant}")
