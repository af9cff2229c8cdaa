"""The operator's Job manifests: found by name, with other values for the variables they list."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keptn_remedy import PermanentError
from keptn_remedy_actions.cluster import Object


def read_template(folder: Path | None, name: str) -> dict[str, Any]:
    """The manifest of that name. It blocks.

    Raises:
        PermanentError: there is none, or it is no Job.
    """
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


def set_variables(manifest: Object, template: str, variables: Mapping[str, str]) -> None:
    """Give variables that the template lists other values.

    Raises:
        PermanentError: it does not list one of them.
    """
    main = manifest["spec"]["template"]["spec"]["containers"][0]
    listed = {each["name"]: each for each in main.get("env") or () if "valueFrom" not in each}
    for name, text in variables.items():
        if name not in listed:
            raise PermanentError(
                f"the template {template} lists no variable {name}; there are:"
                f" {', '.join(sorted(listed)) or 'none'}"
            )
        listed[name]["value"] = text.replace("$(", "$$(")
