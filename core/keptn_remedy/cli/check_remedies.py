"""What is wrong with remediation.yaml files for standalone mode, and what will surprise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from keptn_remedy.action import PermanentError
from keptn_remedy.cli.terminal import reason
from keptn_remedy.remediation.file import FILE, MAX_BYTES
from keptn_remedy.standalone import remedy_files
from keptn_remedy.standalone.alert_rules import AlertingRule
from keptn_remedy.standalone.promql import doubts, measured, selectors
from keptn_remedy.standalone.rules import Criterion, Remedy
from keptn_remedy.standalone.sources import SourcesFile
from keptn_remedy.support.near_names import near

_PLACE = 3
_SHOWN = 20


@dataclass
class RemedyCheck:
    """The remedies in a folder, checked for these sources. `rules`: the alerting rules, where they
    are known.
    """

    folder: Path
    sources: SourcesFile
    rules: Sequence[AlertingRule] | None
    mistakes: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    actions: dict[str, str] = field(default_factory=dict[str, str])
    """The names of actions, with the place of the first remedy that has each."""

    def run(self) -> None:
        """Fill `mistakes`, `notes` and `actions`."""
        files = sorted(self.folder.rglob(FILE))
        if not files:
            self.notes.append(f"{self.folder} has no {FILE}: no problem has a remedy")
        if not any(map(self.sources.asked_by, self.sources.sources)):
            self.notes.append("no prometheus is named, so the judge can't tell of any remedy")
        known: set[str] = set()
        for file in files:
            try:
                with file.open("rb") as content:
                    found = remedy_files.entries(content.read(MAX_BYTES + 1))
            except OSError as error:
                self.mistakes.append(reason(error))
            except PermanentError as error:
                self.mistakes.append(f"{file}: {error}")
            else:
                known |= {problem_type for problem_type, remedies in found if remedies}
                self._look(file, found)
        for project in sorted(each.name for each in self.folder.glob("*/")):
            try:
                remedy_files.check_shipyard(self.folder, project)
            except PermanentError as error:
                self.mistakes.append(str(error))
        self._compare(known)

    def _look(self, file: Path, found: Sequence[tuple[str, Sequence[Remedy]]]) -> None:
        for problem_type, remedies in found:
            if not remedies:
                self.notes.append(f"{file}: {problem_type!r} has no actions")
            self.notes += [f"{file}: {each}" for each in self._misspelt(problem_type)]
            for remedy in remedies:
                where = f"{file}: {problem_type!r}, {remedy.action}"
                self.actions.setdefault(remedy.action, where)
                criterion = remedy.criterion
                for query in filter(None, (criterion.query, criterion.evidence)):
                    self.mistakes += [f"{where}: {each}" for each in _useless(query)]
                if criterion.kind == "alert":
                    self.mistakes += [
                        f"{where}: {each}" for each in self._unproven(problem_type, criterion)
                    ]
                elif criterion.kind == "slo":
                    self._objectives(where, file.relative_to(self.folder).parts[:-1][:_PLACE])

    def _unproven(self, problem_type: str, criterion: Criterion) -> Iterator[str]:
        """Why the criterion `alert` can't be answered."""
        if not any(each.kind == "alertmanager" for each in self.sources.sources.values()):
            yield "no source has alerts of Prometheus: evaluation needs promql or slo"
        for rule in self._by_name.get(problem_type, ()):
            if not criterion.evidence and not measured(rule.query):
                yield (
                    f"the rule of {rule.name} compares no one number: evaluation needs"
                    " alert: {evidence: QUERY}, or promql or slo"
                )

    def _objectives(self, where: str, place: Sequence[str]) -> None:
        stored = remedy_files.slo_of(self.folder, place, {})
        if why := stored.get("why"):
            # The file of a stage or project is used by services, which may have one.
            is_sure = len(place) == _PLACE or not str(why).startswith("there is no")
            (self.mistakes if is_sure else self.notes).append(f"{where}: {why}")
        queries: Mapping[str, Any] = stored.get("queries", {})
        for sli, query in queries.items():
            if not query:
                self.mistakes.append(f"{where}: no sli.yaml has an indicator {sli}")
            else:
                self.notes += [f"{where}, {sli}: {each}" for each in doubts(query)]

    @cached_property
    def _by_name(self) -> Mapping[str, Sequence[AlertingRule]]:
        found: dict[str, list[AlertingRule]] = {}
        for rule in self.rules or ():
            for name in rule.names:
                found.setdefault(name, []).append(rule)
        return found

    def _misspelt(self, problem_type: str) -> Iterator[str]:
        is_known = problem_type in self._by_name or problem_type == remedy_files.DEFAULT
        if self.rules is not None and not is_known:
            meant = near(problem_type, self._by_name)
            yield f"no rule has an alert that is called {problem_type!r}{meant}"

    def _compare(self, known: set[str]) -> None:
        """Alerts that no remedy answers."""
        if self.rules is None or remedy_files.DEFAULT in known:
            return
        lacking = sorted({rule.name for rule in self.rules if known.isdisjoint(rule.names)})
        if lacking:
            more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
            self.notes.append(f"{_of(len(lacking))} no remedy: {', '.join(lacking[:_SHOWN])}{more}")


def _useless(query: str) -> Iterator[str]:
    yield from doubts(query)
    if not selectors(query):
        yield f"{query[:100]!r} measures nothing"


def _of(number: int) -> str:
    return "this alert has" if number == 1 else f"these {number} alerts have"
