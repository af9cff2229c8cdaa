"""run-job: runs Jobs of the operator's templates, or of the job-executor's config.yaml."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from aiohttp import ClientSession
from pydantic import BaseModel

from keptn_remedy import (
    Change,
    Context,
    Denied,
    Finding,
    Outcome,
    PermanentError,
    Plan,
    PlannedAction,
    Retry,
)
from keptn_remedy_actions.cluster import (
    POD,
    Object,
    Ref,
    condition_of,
    counted,
    meta_of,
    name_of,
    rights,
    status_of,
    uid_of,
)
from keptn_remedy_actions.cluster.action import looks
from keptn_remedy_actions.cluster.api import FAILURES, ClusterApi, Conflict, NotFound
from keptn_remedy_actions.cluster.targets import filled
from keptn_remedy_actions.jobs import (
    CONFIG_MAP,
    EXECUTION,
    JOB,
    Task,
    check_images,
    completed,
    digest_of,
    job_name,
    summary,
)
from keptn_remedy_actions.jobs.files import (
    check_unchanged,
    checked_path,
    config_map,
    digests_of,
    read_files,
)
from keptn_remedy_actions.jobs.templates import read_template, set_variables
from keptn_remedy_actions.jobs.value import LONGEST_SECONDS, RunJobSettings, RunJobValue

_LOG_LINES, _LONGEST_LOG = 20, 1_000
_NOT_BACK = "what a job did can't be taken back"


class _Planned(BaseModel):
    """A job of the plan: what is created, and the files that it gets."""

    ref: Ref
    manifest: dict[str, Any]
    files: list[str] = []
    """The files and folders as the task names them."""
    digests: dict[str, str] = {}
    """The SHA-256 of each file at planning; older plans lack them."""


class _Memo(BaseModel):
    jobs: list[_Planned]


class RunJob(PlannedAction):
    """Run a Kubernetes Job, and wait for its end."""

    name = "run-job"
    aliases = ("job", "job-executor")
    env_prefix = "KUBERNETES_"
    timeout = 150.0
    deadline = LONGEST_SECONDS
    retry = Retry(attempts=100, first=0.5, longest=10)
    undo_when_aborted = True

    Settings: ClassVar[Any] = RunJobSettings
    Value: ClassVar[Any] = RunJobValue

    settings: RunJobSettings

    def __init__(self, settings: RunJobSettings) -> None:
        super().__init__(settings)
        self.api = ClusterApi(settings)

    async def close(self) -> None:
        await self.api.close()

    async def diagnose(self, http: ClientSession, namespaces: Sequence[str]) -> Sequence[Finding]:
        settings = self.settings
        if settings.namespace:
            return await rights.diagnose(self.api, self.name, [settings.namespace])
        return await rights.of_action(self.api, self.name, namespaces, settings.namespace_template)

    async def plan(self, context: Context, value: RunJobValue) -> Plan:
        jobs, changes = list[_Planned](), list[Change]()
        tasks = await self._tasks(context, value)
        for number, task in enumerate(tasks):
            task.namespace = self._namespace(context, task)
            named, digests = task.files, digests_of(await read_files(context, task.files))
            task.files = list(digests)
            manifest = completed(
                task,
                context,
                number,
                seconds=self.settings.seconds,
                keep_seconds=self.settings.keep_seconds,
            )
            check_images(manifest, self.settings.allowed)
            ref = Ref(JOB, task.namespace, job_name(context.trigger.id, number))
            try:
                await self.api.create(JOB, ref.namespace, manifest, dry_run=True)
            except Conflict:
                await self._ours(context, ref)
            jobs.append(_Planned(ref=ref, manifest=manifest, files=named, digests=digests))
            shown = f"{summary(manifest)} ({digest_of(task, context, digests)})"
            changes.append(Change(ref.target, "job", None, shown))
        return Plan(tuple(changes), memo=_Memo(jobs=jobs).model_dump(mode="json"))

    def essence(self, plan: Plan) -> Any:
        # The name of a job is made of its execution.
        return [[c.target.rpartition("/")[0], c.after] for c in plan.changes]

    async def apply(self, context: Context, plan: Plan) -> None:
        first = _Memo.model_validate(plan.memo).jobs[0]
        if not await self._is_past(context, first.ref):
            await self._there(context, first)

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        said = list[str]()
        for job in _Memo.model_validate(plan.memo).jobs:
            if await self._is_past(context, job.ref):
                said.append(f"job {job.ref.name} succeeded")
                continue
            await self._there(context, job)
            how, log = await self._ended(context, job.ref)
            said.append(f"job {job.ref.name} {how}" + (f": {log}" if log else ""))
            if how != "succeeded":
                return Outcome.failed("; ".join(said), log=log)
        return Outcome.passed("; ".join(said))

    async def undo(self, context: Context, plan: Plan) -> str | None:
        """Delete a job that still runs; what a finished one did stays done."""
        stopped, ended = list[str](), list[str]()
        for job in _Memo.model_validate(plan.memo).jobs:
            try:
                live = await self._ours(context, job.ref)
            except NotFound:
                continue
            if _end_of(live):
                ended.append(job.ref.name)
                continue
            await self.api.delete(job.ref, uid_of(live), propagation="Background")
            stopped.append(job.ref.name)
        if stopped:
            return f"stopped and deleted {', '.join(stopped)}; {_NOT_BACK}"
        if ended:
            raise Denied(f"{', '.join(ended)} has ended, and {_NOT_BACK}")
        raise Denied(f"its jobs are gone, and {_NOT_BACK}")

    async def _tasks(self, context: Context, value: RunJobValue) -> list[Task]:
        if value.template is None:
            from keptn_remedy_actions.jobs.config import URI, tasks_in

            if value.variables or value.files:
                raise PermanentError("`variables` and `files` need a `template`")
            return tasks_in(await context.keptn.resource(URI), context)
        manifest = await asyncio.to_thread(read_template, self.settings.templates, value.template)
        set_variables(manifest, value.template, value.variables)
        namespace = str(meta_of(manifest).get("namespace") or "")
        files = [checked_path(uri) for uri in value.files]
        return [Task(name=value.template, namespace=namespace, manifest=manifest, files=files)]

    def _namespace(self, context: Context, task: Task) -> str:
        settings = self.settings
        usual = settings.namespace or filled(settings.namespace_template, context.trigger)
        if task.namespace not in ("", usual):
            raise Denied(
                f"{task.name} names the namespace {task.namespace}, and jobs run in {usual}"
            )
        return usual

    async def _there(self, context: Context, job: _Planned) -> Object:
        """The job, created unless it is there already, and its files.

        Raises:
            PermanentError: it was created before, and is gone.
            Denied: one of its files is not as it was planned.
        """
        key = _key(context)
        created = await context.memory.get(key)
        live: Object | None = None
        with suppress(NotFound):
            live = await self._ours(context, job.ref)
        if live is None and created == job.ref.name:
            raise PermanentError(f"{job.ref} is gone; whether it succeeded is not known")
        has_ended = live is not None and _end_of(live)
        contents = {} if has_ended else await self._as_planned(context, job)
        live = live or await self._created(context, job)
        await context.memory.put(key, job.ref.name)
        if contents:
            await self._give_files(job, live, contents)
        return live

    async def _is_past(self, context: Context, ref: Ref) -> bool:
        """Whether a later job of the execution was created, which means that this one succeeded; it
        may have been deleted since, and must not run again.
        """
        execution, _, number = ref.name.rpartition("-")
        latest, _, reached = str(await context.memory.get(_key(context)) or "").rpartition("-")
        return latest == execution and int(reached) > int(number)

    async def _created(self, context: Context, job: _Planned) -> Object:
        try:
            return await self.api.create(JOB, job.ref.namespace, job.manifest)
        except Conflict:
            return await self._ours(context, job.ref)

    async def _as_planned(self, context: Context, job: _Planned) -> dict[str, bytes]:
        contents = await read_files(context, job.files)
        if job.digests:
            check_unchanged(job.digests, contents)
        return contents

    async def _give_files(self, job: _Planned, live: Object, contents: Mapping[str, bytes]) -> None:
        body = config_map(job.ref.name, job.ref.namespace, live, contents)
        try:
            await self.api.create(CONFIG_MAP, job.ref.namespace, body)
        except Conflict:
            return  # given before a crash

    async def _ours(self, context: Context, ref: Ref) -> Object:
        """The job of this execution; another one of its name is refused.

        Raises:
            NotFound: there is none.
        """
        live = await self.api.get(ref)
        annotations: dict[str, str] = meta_of(live).get("annotations") or {}
        if annotations.get(EXECUTION) != context.trigger.id:
            raise PermanentError(f"{ref} is not ours")
        return live

    async def _ended(self, context: Context, ref: Ref) -> tuple[str, str]:
        """How the job ended, and the end of its log."""
        live: Object = {}
        async for _ in looks(context):
            try:
                live = await self._ours(context, ref)
            except NotFound:
                return "is gone: somebody deleted it", ""
            if end := _end_of(live):
                return end, await self._log(context, ref)
        return f"has not ended in time: {await self._why(ref)}", await self._log(context, ref)

    async def _pods(self, ref: Ref) -> list[Object]:
        labels = f"job-name={ref.name}"
        pods = await self.api.list(POD, ref.namespace, labels=labels)
        return sorted(pods, key=lambda pod: str(meta_of(pod).get("creationTimestamp")))

    async def _why(self, ref: Ref) -> str:
        try:
            pods = await self._pods(ref)
        except FAILURES as error:
            return str(error)
        states = [
            f"{name_of(pod)}: {each['state']['waiting'].get('reason')}"
            for pod in pods
            for each in status_of(pod).get("containerStatuses") or ()
            if "waiting" in (each.get("state") or {})
        ]
        return "; ".join(states) or f"{counted(len(pods), 'pod')}, none of which waits"

    async def _log(self, context: Context, ref: Ref) -> str:
        """The end of the last pod's log, in one line; empty where it can't be read."""
        try:
            pods = await self._pods(ref)
            if not pods:
                return ""
            pod = Ref(POD, ref.namespace, name_of(pods[-1]))
            text = await self.api.log(pod, lines=_LOG_LINES)
        except FAILURES as error:
            context.log.info("the job's log can't be read", job=str(ref), error=str(error))
            return ""
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return line if len(line) <= _LONGEST_LOG else f"…{line[-_LONGEST_LOG:]}"


def _key(context: Context) -> str:
    """Where the name of the job is remembered that was created last."""
    trigger = context.trigger
    return f"created in {trigger.project} {trigger.stage} {trigger.service}"[:1000]


def _end_of(live: Object) -> str:
    """How a job ended; empty while it runs."""
    if condition_of(live, "Complete").get("status") == "True":
        return "succeeded"
    failed = condition_of(live, "Failed")
    if failed.get("status") == "True":
        return f"failed: {failed.get('message') or failed.get('reason')}"
    return ""
