"""Skipped tests are counted, with reasons, in a last line; COMPLETE_TESTS=1 makes them failures.

WITHOUT_CLUSTER=1 takes the tests on a cluster out of that promise.
"""

import os
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest


class LeftOut:
    """A pytest plugin; under xdist it lives in each worker and in the process that sums up."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.reasons: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._note(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        # A module that skips itself is known to its workers only.
        self.reasons |= getattr(node, "workeroutput", {}).get("left_out", {})

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        worker_output = getattr(self.config, "workeroutput", None)
        if worker_output is not None:
            worker_output["left_out"] = self.reasons
            return (yield)
        if missing := self._missing():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        yield
        if self.reasons:
            self._tell(missing)
        return None

    def _missing(self) -> list[str]:
        """The tests whose absence is a failure."""
        if os.environ.get("COMPLETE_TESTS") != "1":
            return []
        return sorted(test for test in self.reasons if not _may_be_left_out(test))

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        detail = report.longrepr
        reason = detail[2] if isinstance(detail, tuple) else str(detail)
        self.reasons[report.nodeid] = reason.removeprefix("Skipped: ")

    def _tell(self, missing: list[str]) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None:
            return
        for test in missing:
            why = self.reasons[test]
            reporter.write_line(f"left out, which COMPLETE_TESTS=1 forbids: {test}: {why}")
        counts = Counter(self.reasons.values()).most_common()
        reasons = "; ".join(f"{count} x {reason}" for reason, count in counts)
        reporter.write_line(f"left out: {len(self.reasons)} tests ({reasons})")


def _may_be_left_out(test: str) -> bool:
    return os.environ.get("WITHOUT_CLUSTER") == "1" and test.startswith("tests/cluster/")
