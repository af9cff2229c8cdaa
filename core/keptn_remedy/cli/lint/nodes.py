"""A file in YAML as nodes, which know their lines and columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from keptn_remedy.action import PermanentError
from keptn_remedy.cli.lint.remarks import Level, Remark
from keptn_remedy.remediation.file import entries


@dataclass(frozen=True, slots=True)
class File:
    """A file and the root of its nodes; None where it is empty."""

    path: str
    root: yaml.Node | None

    def remark(self, rule: str, level: Level, node: yaml.Node | None, message: str) -> Remark:
        """A remark about a node, or the file's beginning."""
        line, column = (node.start_mark.line, node.start_mark.column) if node else (0, 0)
        return Remark(rule, level, self.path, line + 1, column + 1, message)


def parsed(path: str, content: bytes) -> File | Remark:
    """The file, or why it can't be read."""
    try:
        entries(content)  # within the bounds that the service has for such a file
        return File(path, yaml.compose(content, Loader=yaml.SafeLoader))
    except PermanentError as error:
        return _unreadable(path, content, str(error))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return Remark("unreadable", "error", path, 1, 1, " ".join(str(error).split()))


def _unreadable(path: str, content: bytes, why: str) -> Remark:
    try:
        yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        if mark := error.problem_mark:
            said = f"it isn't YAML: {error.problem}"
            return Remark("unreadable", "error", path, mark.line + 1, mark.column + 1, said)
    except (yaml.YAMLError, ValueError, RecursionError):
        pass
    return Remark("unreadable", "error", path, 1, 1, why)


def pairs(node: yaml.Node | None) -> Sequence[tuple[yaml.Node, yaml.Node]]:
    """Keys and values of a map; none of anything else."""
    return node.value if isinstance(node, yaml.MappingNode) else ()


def items(node: yaml.Node | None) -> Sequence[yaml.Node]:
    """The items of a list; none of anything else."""
    return node.value if isinstance(node, yaml.SequenceNode) else ()


def below(node: yaml.Node | None, *path: str | int) -> yaml.Node | None:
    """What is at a path; None if nothing is."""
    for part in path:
        if isinstance(part, int):
            listed = items(node)
            node = listed[part] if part < len(listed) else None
        else:
            node = next((value for key, value in pairs(node) if key.value == part), None)
    return node


def text(node: yaml.Node | None) -> str:
    """A scalar as it is written; "" for anything else."""
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def scalars(node: yaml.Node | None, *, _depth: int = 0) -> Iterator[yaml.ScalarNode]:
    """The scalars in a value, without keys."""
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif _depth < 100:
        inner: Sequence[Any] = [value for _, value in pairs(node)] or items(node)
        for each in inner:
            yield from scalars(each, _depth=_depth + 1)
