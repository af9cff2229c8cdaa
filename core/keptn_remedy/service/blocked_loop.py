"""A thread that names the code which keeps the event loop from running."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from types import FrameType

from keptn_remedy.journal import Execution
from keptn_remedy.registry import Registry
from keptn_remedy.support import logs
from keptn_remedy.support.metrics import Metrics

BLOCKED_SECONDS = 2.0
LOOK_SECONDS = 0.5
MOST_FRAMES = 15
_SLICES = 4


class BlockedLoop:
    """Watches the running loop: while an action calls what blocks, no event is acknowledged and no
    probe answered. `execution_of` is the execution that a task carries out, `under_way` are all.
    """

    def __init__(
        self,
        registry: Registry,
        metrics: Metrics,
        execution_of: Callable[[asyncio.Task[object]], Execution | None],
        under_way: Callable[[], Iterable[Execution]],
        *,
        blocked_seconds: float = BLOCKED_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._metrics = metrics
        self._execution_of = execution_of
        self._under_way = under_way
        self._blocked_seconds = blocked_seconds
        self._look_seconds = look_seconds
        # By file, the names of the classes in it, each with its action's.
        self._actions: dict[str, dict[str, str]] = {}
        for entry in registry.entries:
            self._actions.setdefault(_file(entry.cls), {})[entry.cls.__qualname__] = entry.name
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._answered, self._left = threading.Event(), threading.Event()

    @contextmanager
    def watched(self) -> Generator[None]:
        """Watch until the context is left."""
        threading.Thread(target=self._watch, name="blocked loop", daemon=True).start()
        try:
            yield
        finally:
            self._left.set()

    def _watch(self) -> None:
        try:
            while not self._left.wait(self._look_seconds):
                began = time.monotonic()
                self._answered.clear()
                self._loop.call_soon_threadsafe(self._answered.set)
                if not self._is_answered():
                    self._report()
                    self._answered.wait()
                    seconds = round(time.monotonic() - began, 1)
                    logs.logger().warning("the event loop runs again", seconds=seconds)
        except RuntimeError:  # the loop is closed
            return

    def _is_answered(self) -> bool:
        # In slices: a process that was stopped, or a machine that slept, uses up only one.
        return any(self._answered.wait(self._blocked_seconds / _SLICES) for _ in range(_SLICES))

    def _report(self) -> None:
        frames = list(_frames(sys._current_frames().get(self._thread)))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if not frames:
            return
        named = [frame for frame in frames if frame.f_code.co_filename in self._actions]
        frame = (named or frames)[0]
        fields = self._culprit(frame, named)
        self._metrics.loop_blocked(fields.get("action", "")).inc()
        logs.logger().error(
            "the event loop is blocked: make the method a plain `def`, or await what takes time",
            **fields,
            file=frame.f_code.co_filename,
            line=frame.f_lineno,
            seconds=self._blocked_seconds,
            stack=[f"{f.f_code.co_filename}:{f.f_lineno}" for f in frames[:MOST_FRAMES]],
        )

    def _culprit(self, frame: FrameType, named: list[FrameType]) -> dict[str, str]:
        """Log fields that say whose code it is. A task that an action started is known by the file
        and the classes of its frames.
        """
        task = asyncio.current_task(self._loop)
        execution = self._execution_of(task) if task else None
        in_file = self._actions.get(frame.f_code.co_filename, {})
        classes = (each.f_code.co_qualname.rpartition(".")[0] for each in named)
        of_class = next((in_file[cls] for cls in classes if cls in in_file), None)
        actions = {of_class} if of_class else set(in_file.values())
        if execution is None:
            candidates = [each for each in self._under_way() if each.action in actions]
            execution = candidates[0] if len(candidates) == 1 else None
        if execution:
            return logs.execution_fields(execution.trigger, execution.action)
        return {"action": actions.pop()} if len(actions) == 1 else {}


def _frames(frame: FrameType | None) -> Generator[FrameType]:
    """From the innermost to the outermost."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _file(cls: type) -> str:
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
