"""Reads YAML written by people: limited in size, with line numbers, without YAML 1.1's traps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import yaml

MAX_BYTES = 256 * 1024
MAX_NODES = 100_000
"""The limit of nodes, counted with every alias written out."""

_TAG = "tag:yaml.org,2002:"
_TEXT = f"{_TAG}str"


class DocumentError(Exception):
    """The text can't be read. `mistakes` has one line for each mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class _Loader(yaml.SafeLoader):
    """Reads everything as text but `true`, `false`, `null` and plain numbers.

    `on` and `no` stay words, 18:00 is not read in base 60, and dates stay as written.
    """

    yaml_implicit_resolvers: ClassVar[Any] = {}  # type: ignore[misc]  # PyYAML keeps it there


for tag, form, first in (
    ("null", r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(0|[1-9][0-9]{0,17})$", list("-+0123456789")),
    ("float", r"^[-+]?[0-9]{1,18}\.[0-9]{1,18}$", list("-+0123456789")),
    ("merge", r"^<<$", ["<"]),
):
    cast("Any", _Loader).add_implicit_resolver(f"{_TAG}{tag}", re.compile(form), first)


class Document:
    """A text in YAML as its value, with the lines of its parts."""

    def __init__(self, text: str) -> None:
        """Parse the text.

        Raises:
            DocumentError: it isn't YAML, is too large, or has a key twice in one map.
        """
        if len(text.encode("utf-8", "replace")) > MAX_BYTES:
            raise DocumentError([f"it is larger than {MAX_BYTES // 1024} KiB"])
        try:
            loader: Any = _Loader(text)  # PyYAML's stubs leave types out
            self._root: Any = loader.get_single_node()
            if self._root is not None:
                _Check(loader).node(self._root)
            self.value: Any = self._root and loader.construct_document(self._root)
        except yaml.YAMLError as error:
            raise DocumentError([_told(error)]) from None
        except RecursionError:
            raise DocumentError(["it is nested too deeply"]) from None

    @property
    def is_map(self) -> bool:
        return isinstance(self._root, yaml.MappingNode)

    def line(self, path: Sequence[str | int]) -> int:
        """The line, counted from 1, of the path, or of the nearest existing part around it."""
        node, line = self._root, 1
        for place in path:
            found = _below(node, place)
            if found is None:
                break
            line, node = found
        return line


def _below(node: Any, place: str | int) -> tuple[int, Any] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):  # merged keys come first
            if key.value == str(place):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(place, int) and place < len(node.value):
        return node.value[place].start_mark.line + 1, node.value[place]
    return None


class _Check:
    """Rejects duplicate keys, tags, and aliases that would expand to too many nodes."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._sizes: dict[int, int] = {}

    def node(self, node: yaml.Node) -> int:
        """The number of nodes, with aliases written out."""
        if id(node) not in self._sizes:
            self._sizes[id(node)] = (
                MAX_NODES  # an alias inside itself would never end: over the limit
            )
            size = 1 + sum(map(self.node, self._children(node)))
            if size > MAX_NODES:
                raise _mistake(
                    node, f"it has more than {MAX_NODES} nodes, with aliases written out"
                )
            self._sizes[id(node)] = size
        return self._sizes[id(node)]

    def _children(self, node: yaml.Node) -> list[yaml.Node]:
        if node.tag not in (_TEXT, self._plain_tag(node)):
            raise _mistake(node, f"tag {node.tag.removeprefix(_TAG)} is not allowed; remove it")
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            return [part for pair in node.value for part in pair]
        return [*node.value] if isinstance(node, yaml.SequenceNode) else []

    def _plain_tag(self, node: yaml.Node) -> object:
        """The tag that the node would have without quotes and without an explicit tag."""
        return self._loader.resolve(type(node), node.value, (True, False))


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in (_TEXT, f"{_TAG}merge"):
            raise _mistake(key, "a key must be a word; numbers, true and false need quotes")
        if key.value in seen:
            raise _mistake(key, f"{key.value} is in this map twice")
        seen.add(key.value)


def _mistake(node: yaml.Node, message: str) -> DocumentError:
    return DocumentError([f"line {node.start_mark.line + 1}: {message}"])


def _told(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    line = f"line {mark.line + 1}: " if mark else ""
    return f"{line}it isn't YAML: {' '.join(problem.split())}"
