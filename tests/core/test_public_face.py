"""What users rely on keeps its names: `public_face.txt` lists them, one a line.

A name that is missing from the code was dropped or renamed; one that is missing from the list is
new, and wants its line.
"""

from __future__ import annotations

import dis
import importlib
import inspect
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import typer
from aiohttp import ClientSession

import keptn_remedy
from keptn_remedy import testing
from keptn_remedy.cli.commands import app
from keptn_remedy.ops import openapi
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import FakeKeptn, triggered
from tests.providing import Gate, Greet, event_url, gated, provider
from tests.settings_page import SECTIONS, variables_of

LIST = Path(__file__).with_name("public_face.txt")
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def listed() -> dict[str, set[str]]:
    """The names by their headings."""
    found: dict[str, set[str]] = {}
    names: set[str] = set()
    for line in LIST.read_text("utf-8").splitlines():
        if line.startswith("# "):
            names = found[line.removeprefix("# ")] = set()
        elif line:
            assert line not in names, f"{line} is listed twice"
            names.add(line)
    return found


def compare(heading: str, found: set[str]) -> None:
    wanted = listed()[heading]
    dropped, new = sorted(wanted - found), sorted(found - wanted)
    assert not dropped, f"dropped or renamed, which breaks users: {dropped}"
    assert not new, f"new, add to {LIST.name} under {heading!r}: {new}"


def names_of(module: Any) -> Iterator[str]:
    """What a module exports, with the members of classes and the parameters of functions."""
    for name in module.__all__:
        exported = getattr(module, name)
        yield name
        if inspect.isclass(exported):
            yield from (f"{name}.{member}" for member in members(exported))
        elif inspect.isroutine(exported):
            yield from (f"{name}({taken})" for taken in inspect.signature(exported).parameters)


def members(cls: type[Any]) -> set[str]:
    """The public members that classes of ours define, inherited ones and attributes too."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("keptn_remedy")]
    foreign = {name for base in cls.__mro__ if base not in ours for name in vars(base)}
    found = {name for base in ours for name in (*vars(base), *inspect.get_annotations(base))}
    for init in (vars(base).get("__init__") for base in ours):
        if inspect.isfunction(init):
            stored = (one for one in dis.get_instructions(init) if one.opname == "STORE_ATTR")
            found |= {one.argval for one in stored}
    return {name for name in found - foreign if not name.startswith("_")}


def commands(command: Any, path: str) -> Iterator[str]:
    """Each command with its arguments and options."""
    yield path
    for parameter in command.params:
        spelled = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar]
        yield from (f"{path} {one}" for one in spelled)
    for name, subcommand in getattr(command, "commands", {}).items():
        yield from commands(subcommand, f"{path} {name}")


def fields(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    """The paths of all fields of a JSON schema."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from fields(choice, schemas)
    if "items" in schema:
        yield from (f"[]{path}" for path in fields(schema["items"], schemas))
    for name, field in schema.get("properties", {}).items():
        yield f".{name}"
        yield from (f".{name}{path}" for path in fields(field, schemas))


def keys(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all fields of a JSON value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}.{name}"
            yield from keys(inner, f"{path}.{name}")


def operations(document: Mapping[str, Any]) -> Iterator[str]:
    """The ops port's paths, with parameters, and the fields of orders and answers.

    The fields of an answer are listed for the first operation that gives it.
    """
    schemas, first = document["components"]["schemas"], dict[str, str]()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path}"
            yield name
            yield from (f"{name} ?{parameter['name']}" for parameter in operation["parameters"])
            order = operation.get("requestBody", {"content": {}})
            for media_type in order["content"].values():
                yield from (
                    f"{name} takes {field}" for field in fields(media_type["schema"], schemas)
                )
            for status, answer in operation["responses"].items():
                ((media_type, content),) = answer["content"].items()
                schema = content["schema"]
                known = first.setdefault(schema["$ref"], f"{name} {status}")
                if known == f"{name} {status}":
                    yield f"{name} {status} {media_type}"
                    yield from (f"{known} {field}" for field in fields(schema, schemas))
                else:
                    yield f"{name} {status} as {known}"


def test_every_heading_is_compared() -> None:
    source = Path(__file__).read_text("utf-8")
    assert [heading for heading in listed() if f'"{heading}"' not in source] == []


def test_the_authors_api() -> None:
    compare("keptn_remedy", set(names_of(keptn_remedy)))


def test_the_test_kit() -> None:
    compare("keptn_remedy.testing", set(names_of(testing)))


def test_the_entry_points() -> None:
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    for target in (target for group in groups.values() for target in group.values()):
        module, _, name = target.partition(":")
        assert getattr(importlib.import_module(module), name)
    compare("entry points", {f"{group} {name}" for group, of in groups.items() for name in of})


def test_the_commands() -> None:
    compare("commands", set(commands(typer.main.get_command(app), "remedy")))


def test_the_settings() -> None:
    compare(
        "settings",
        {
            variable
            for _, _, cls, prefix in SECTIONS
            for name, field in cls.model_fields.items()
            for variable in variables_of(prefix, name, field)
        },
    )


def test_the_metrics() -> None:
    found = set[str]()
    for collector in cast("Any", Metrics("1").registry._collector_to_names):
        (metric,) = collector.describe()
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        found.add(f"{metric.type} {name}{{{','.join(collector._labelnames)}}}")
    compare("metrics", found)


def test_the_ops_port() -> None:
    compare("ops port", set(operations(openapi.document("1", orders=True, episodes=True))))


async def test_what_an_event_is_answered_and_what_keptn_is_told(tmp_path: Path) -> None:
    gate, answers = Gate(), dict[str, Any]()
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "journal.db", keptn, Greet, gated(gate), error_log="always") as service,
        ClientSession() as session,
    ):
        url = event_url(service)
        greet, fail = triggered("greet", {"name": "you"}), triggered("greet", "no map")
        wait, foreign = triggered("wait"), triggered("of-others")
        for event in (greet, fail, wait):
            answers["accepted"] = await keptn.deliver(event, to=url)
        answers["duplicate"] = await keptn.deliver(greet, to=url)
        answers["ignored"] = await keptn.deliver(foreign, to=url)
        keptn.expect_unanswered(foreign["id"])
        await gate.until_entered(1)
        (answers["noted"],) = [
            await keptn.deliver(ending, to=url) for ending in keptn.abort(wait["id"])
        ]
        async with session.post(url, json={"specversion": "1.0"}) as refused:
            problem = await refused.json(content_type=None)
        await keptn.task_finished(greet["id"])
        await keptn.task_finished(fail["id"])
        await keptn.wait_until(lambda: any(r.type.endswith("log.error") for r in keptn.received))
        gate.open()
        told = [*keptn.events_of(greet["id"]), *keptn.events_of(fail["id"]), *keptn.received]
    compare(
        "event port",
        {f"{kind} {a.status} {key}" for kind, a in answers.items() for key in keys(a.json)}
        | {f"invalid {refused.status} {key}" for key in keys(problem)},
    )
    compare(
        "events to Keptn",
        {f"{report.type} {key}" for report in told for key in keys(report.event)},
    )
