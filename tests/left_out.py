"""Skipped tests are counted, with reasons, in a last line; COMPLETE_TESTS=1 makes them failures."""

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
        must_be_complete = os.environ.get("COMPLETE_TESTS") == "1"
        if self.reasons and must_be_complete:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        yield
        if self.reasons:
            self._tell(each=must_be_complete)
        return None

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        detail = report.longrepr
        reason = detail[2] if isinstance(detail, tuple) else str(detail)
        self.reasons[report.nodeid] = reason.removeprefix("Skipped: ")

    def _tell(self, *, each: bool) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None:
            return
        if each:
            for test, reason in sorted(self.reasons.items()):
                reporter.write_line(f"left out, which COMPLETE_TESTS=1 forbids: {test}: {reason}")
        counts = Counter(self.reasons.values()).most_common()
        reasons = "; ".join(f"{count} x {reason}" for reason, count in counts)
        reporter.write_line(f"left out: {len(self.reasons)} tests ({reasons})")
