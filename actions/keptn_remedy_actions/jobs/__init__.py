"""What run-job consists of: one task as the manifest of a Kubernetes Job."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

import orjson
from pydantic import BaseModel

from keptn_remedy import Context, Denied, PermanentError
from keptn_remedy_actions.cluster import Kind, Object
from keptn_remedy_actions.jobs.files import mount

JOB = Kind("Job", "batch", "v1", "jobs")
CONFIG_MAP = Kind("ConfigMap", "", "v1", "configmaps")
EXECUTION = "keptn-remedy/execution"
"""The annotation that tells whose Job it is."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LEAST_KEPT_SECONDS = 60
"""How a job ended is looked at while it is there."""
LIMITS: Mapping[str, Mapping[str, str]] = {
    "limits": {"cpu": "1", "memory": "512Mi"},
    "requests": {"cpu": "50m", "memory": "128Mi"},
}
"""What a container gets whose resources aren't written."""


class Task(BaseModel):
    """One Job: its manifest but for what the execution adds, and the files that it gets."""

    name: str
    namespace: str = ""
    manifest: dict[str, Any]
    files: list[str] = []


def job_name(execution: str, number: int) -> str:
    """The name of an execution's Job; a restarted process finds it by this name."""
    return f"remedy-{hashlib.sha256(execution.encode()).hexdigest()[:20]}-{number}"


def variables_of(context: Context) -> dict[str, str]:
    """What every container is told: `KEPTN_PROJECT`, and so on, and `LABELS_` for each label."""
    trigger = context.trigger
    found = {
        "KEPTN_PROJECT": trigger.project,
        "KEPTN_STAGE": trigger.stage,
        "KEPTN_SERVICE": trigger.service,
        "KEPTN_CONTEXT": trigger.context,
    }
    for label, text in trigger.labels.items():
        name = "LABELS_" + re.sub(r"[^A-Za-z0-9_]", "_", label).upper()
        found.setdefault(name, text)
    return {name: text for name, text in found.items() if _NAME.fullmatch(name)}


def completed(
    task: Task, context: Context, number: int, *, seconds: float, keep_seconds: int
) -> dict[str, Any]:
    """The manifest as it is created: bounded in time, without a token, with variables and files."""
    manifest = cast("dict[str, Any]", _copied(task.manifest))
    name = job_name(context.trigger.id, number)
    metadata = manifest.setdefault("metadata", {})
    metadata.pop("generateName", None)
    metadata |= {"name": name, "namespace": task.namespace}
    metadata["annotations"] = {**metadata.get("annotations", {}), EXECUTION: context.trigger.id}
    labels = {"app.kubernetes.io/managed-by": "keptn-remedy"}
    metadata["labels"] = {**metadata.get("labels", {}), **labels}
    spec = manifest["spec"]
    deadline = _seconds(spec, "activeDeadlineSeconds", 0) or seconds
    spec["activeDeadlineSeconds"] = math.ceil(min(deadline, seconds))
    kept = _seconds(spec, "ttlSecondsAfterFinished", keep_seconds)
    spec["ttlSecondsAfterFinished"] = max(kept, LEAST_KEPT_SECONDS)
    spec.setdefault("backoffLimit", 0)
    pod = spec["template"]["spec"]
    pod.setdefault("restartPolicy", "Never")
    pod.setdefault("automountServiceAccountToken", False)
    for container in containers_of(manifest):
        container.setdefault("resources", _copied(LIMITS))
    main = pod["containers"][0]
    given = {each["name"] for each in main.get("env") or ()}
    more = [
        {"name": key, "value": text}
        for key, text in variables_of(context).items()
        if key not in given
    ]
    main["env"] = [*more, *(main.get("env") or ())]
    if task.files:
        mount(pod, main, name, task.files)
    return manifest


def containers_of(manifest: Object) -> Sequence[dict[str, Any]]:
    """All containers of a Job's pod, those that run first included."""
    pod = manifest["spec"]["template"]["spec"]
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [container for kind in kinds for container in pod.get(kind) or ()]


def check_images(manifest: Object, allowed: Sequence[str]) -> None:
    """Refuse a Job with an image that the operator doesn't allow.

    Raises:
        Denied: it has one.
    """
    for container in containers_of(manifest):
        image = str(container.get("image") or "")
        if not any(fnmatchcase(image, pattern) for pattern in allowed):
            raise Denied(f"RUN_JOB_IMAGES does not allow the image {image or 'without a name'}")


def summary(manifest: Object) -> str:
    """What the Job runs, in a few words."""
    main = manifest["spec"]["template"]["spec"]["containers"][0]
    command = [*(main.get("command") or ()), *(main.get("args") or ())]
    return " ".join(map(str, [main["image"], *command]))[:300]


def digest_of(task: Task, context: Context, files: Mapping[str, str]) -> str:
    """Of all that the Job would run: an approval holds for no other one. The execution, which
    differs, is not part of it.
    """
    told = {k: v for k, v in variables_of(context).items() if k != "KEPTN_CONTEXT"}
    made = [task.namespace, task.manifest, told, files]
    written = orjson.dumps(made, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.sha256(written).hexdigest()[:12]


def _seconds(spec: Mapping[str, Any], name: str, usual: int) -> int:
    found = spec.get(name, usual)
    if isinstance(found, bool) or not isinstance(found, int):
        raise PermanentError(f"{name} of the job is {found!r}, and must be a number of seconds")
    return found


def _copied(value: Any) -> Any:
    """A copy without fields that are null, which the API server takes for absent."""
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value)
        return {key: _copied(item) for key, item in entries.items() if item is not None}
    if isinstance(value, list):
        return [_copied(item) for item in cast("Iterable[Any]", value)]
    return value
