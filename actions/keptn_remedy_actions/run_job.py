"""run-job: runs Jobs of the operator's templates, or of the job-executor's config.yaml."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from keptn_remedy import (
    Change,
    Context,
    Denied,
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
    meta_of,
    name_of,
    status_of,
    uid_of,
)
from keptn_remedy_actions.cluster.action import looks
from keptn_remedy_actions.cluster.api import FAILURES, ClusterApi, Conflict, NotFound
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from keptn_remedy_actions.cluster.targets import filled
from keptn_remedy_actions.jobs import (
    CONFIG_MAP,
    EXECUTION,
    JOB,
    Task,
    check_images,
    checked_file,
    completed,
    files_map,
    job_name,
    summary,
)

LONGEST_SECONDS = 3600.0
_LOG_LINES, _LONGEST_LOG = 20, 1_000
_MOST_FILE_BYTES = 900 * 1024
_NOT_BACK = "what a job did can't be taken back"


def _named(name: str) -> AliasChoices:
    return AliasChoices(f"run_job_{name}")


class RunJobSettings(KubernetesSettings):
    """Which jobs may run, where, and for how long."""

    images: str = Field(min_length=1, validation_alias=_named("images"))
    """The images that jobs may have, separated by commas; `*` stands for any characters:
    `alpine:3.20, ghcr.io/acme/*`. Without it the action is off."""
    templates: Path | None = Field(default=None, validation_alias=_named("templates"))
    """A folder of Job manifests, `NAME.yaml`."""
    namespace: str = Field(default="", validation_alias=_named("namespace"))
    """The namespace of all jobs. Default: that of the trigger's workload."""
    seconds: float = Field(
        default=300, gt=0, le=LONGEST_SECONDS, validation_alias=_named("seconds")
    )
    """The longest time that one job may take, in seconds."""
    keep_seconds: int = Field(default=600, ge=60, validation_alias=_named("keep_seconds"))
    """Seconds for which a finished job is kept."""

    @property
    def allowed(self) -> Sequence[str]:
        return self.images.replace(",", " ").split()


class RunJobValue(BaseModel):
    """Which template, and what its variables are; nothing for the job-executor's config.yaml."""

    model_config = ConfigDict(extra="forbid")

    template: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$")
    variables: dict[str, str] = {}
    """Variables that the template's first container lists, with other values."""
    files: list[str] = []
    """Files of Keptn's repository, which the job finds in /keptn."""

    @field_validator("variables", mode="before")
    @classmethod
    def _texts(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        entries = cast("Mapping[Any, Any]", given)
        return {str(k): str(v) if isinstance(v, int | float) else v for k, v in entries.items()}


class _Planned(BaseModel):
    """A job of the plan: what is created, and the files that it gets."""

    ref: Ref
    manifest: dict[str, Any]
    files: list[str] = []


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

    async def plan(self, context: Context, value: RunJobValue) -> Plan:
        jobs = list[_Planned]()
        for number, task in enumerate(await self._tasks(context, value)):
            task.namespace = self._namespace(context, task)
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
            jobs.append(_Planned(ref=ref, manifest=manifest, files=task.files))
        await self._contents(context, [uri for job in jobs for uri in job.files])
        changes = tuple(Change(job.ref.target, "job", None, summary(job.manifest)) for job in jobs)
        return Plan(changes, memo=_Memo(jobs=jobs).model_dump(mode="json"))

    async def apply(self, context: Context, plan: Plan) -> None:
        await self._there(context, _Memo.model_validate(plan.memo).jobs[0])

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        said = list[str]()
        for job in _Memo.model_validate(plan.memo).jobs:
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
        manifest = await asyncio.to_thread(_template, self.settings.templates, value.template)
        _set_variables(manifest, value)
        namespace = str(meta_of(manifest).get("namespace") or "")
        files = [checked_file(uri) for uri in value.files]
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
        """
        trigger = context.trigger
        key = f"created in {trigger.project} {trigger.stage} {trigger.service}"[:1000]
        created = await context.memory.get(key)
        try:
            live = await self._ours(context, job.ref)
        except NotFound:
            if created == job.ref.name:
                raise PermanentError(
                    f"{job.ref} is gone; whether it succeeded is not known"
                ) from None
            live = await self._created(context, job)
        await context.memory.put(key, job.ref.name)
        if job.files:
            await self._give_files(context, job, live)
        return live

    async def _created(self, context: Context, job: _Planned) -> Object:
        try:
            return await self.api.create(JOB, job.ref.namespace, job.manifest)
        except Conflict:
            return await self._ours(context, job.ref)

    async def _give_files(self, context: Context, job: _Planned, live: Object) -> None:
        contents = await self._contents(context, job.files)
        body = files_map(job.ref.name, job.ref.namespace, live, contents)
        try:
            await self.api.create(CONFIG_MAP, job.ref.namespace, body)
        except Conflict:
            return  # given before a crash

    async def _contents(self, context: Context, files: Sequence[str]) -> dict[str, bytes]:
        found = {uri: await context.keptn.resource(uri) for uri in dict.fromkeys(files)}
        if (size := sum(map(len, found.values()))) > _MOST_FILE_BYTES:
            raise PermanentError(
                f"the files take {size:,} bytes, and may take {_MOST_FILE_BYTES:,}"
            )
        return found

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
        return "; ".join(states) or f"{len(pods)} pods, none of which waits"

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


def _end_of(live: Object) -> str:
    """How a job ended; empty while it runs."""
    if condition_of(live, "Complete").get("status") == "True":
        return "succeeded"
    failed = condition_of(live, "Failed")
    if failed.get("status") == "True":
        return f"failed: {failed.get('message') or failed.get('reason')}"
    return ""


def _template(folder: Path | None, name: str) -> dict[str, Any]:
    """The manifest of that name. It blocks."""
    import yaml

    if folder is None:
        raise PermanentError(f"the template {name} is wanted, but RUN_JOB_TEMPLATES is not set")
    path = folder / f"{name}.yaml"
    try:
        manifest = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        there = sorted(each.stem for each in folder.glob("*.yaml"))
        raise PermanentError(f"no template {name}; there are: {', '.join(there)}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PermanentError(f"the template {name} can't be read: {type(error).__name__}") from None
    if not _is_job(manifest):
        raise PermanentError(f"the template {name} is not a Job of batch/v1 with an image")
    return dict(manifest)


def _is_job(manifest: Any) -> bool:
    try:
        image = manifest["spec"]["template"]["spec"]["containers"][0]["image"]
        return (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "Job") and bool(image)
    except (KeyError, TypeError, IndexError):
        return False


def _set_variables(manifest: Object, value: RunJobValue) -> None:
    main = manifest["spec"]["template"]["spec"]["containers"][0]
    listed = {each["name"]: each for each in main.get("env") or () if "valueFrom" not in each}
    for name, text in value.variables.items():
        if name not in listed:
            raise PermanentError(
                f"the template {value.template} lists no variable {name}; there are:"
                f" {', '.join(sorted(listed)) or 'none'}"
            )
        listed[name]["value"] = text.replace("$(", "$$(")
