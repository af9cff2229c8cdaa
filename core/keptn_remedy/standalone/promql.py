"""What can be read off an expression of PromQL without asking Prometheus."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_WANT = re.compile(r"\s*(<=|>=|==|!=|<|>|=)\s*([-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)\s*")
_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|(?P<comment>\#[^\n]*)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+|[smhdwy]\w*)?)
    |(?P<name>[A-Za-z_:][\w:]*)|(?P<sign><=|>=|==|!=|=~|!~|[-<>=+*/%^(){}\[\],@:])|(?P<space>\s+)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_OPENING, _CLOSING = "({[", ")}]"
_COMPARING = ("<=", ">=", "==", "!=", "<", ">")
_GROUPING = ("by", "without", "on", "ignoring", "group_left", "group_right")
_WORDS = (
    *_GROUPING,
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "inf",
    "nan",
    "atan2",
    "start",
    "end",
)


class Want(NamedTuple):
    """A comparison with a number: whether a value is as it should be."""

    sign: str
    bound: float

    def holds(self, value: float) -> bool:
        """Whether the value is as wanted."""
        return _SIGNS[self.sign](value, self.bound)

    def distance(self, value: float) -> float:
        """By how much the value is on the wrong side; more is worse."""
        if self.sign in ("<", "<="):
            return value - self.bound
        return self.bound - value if self.sign in (">", ">=") else abs(value - self.bound)


def comparison(written: str) -> Want | None:
    """A comparison such as `< 0.01`; None where it is none."""
    found = _WANT.fullmatch(written)
    if not found or not math.isfinite(bound := float(found[2])):
        return None
    return Want(found[1], bound)


class _Token(NamedTuple):
    kind: str
    text: str
    begin: int
    end: int
    depth: int


def _tokens(expression: str) -> Iterator[_Token]:
    depth = 0
    for found in _TOKEN.finditer(expression):
        kind, text = str(found.lastgroup), found.group()
        if kind in ("space", "comment"):
            continue
        if text in _CLOSING and kind == "sign":
            depth -= 1
        yield _Token(kind, text, found.start(), found.end(), depth)
        if text in _OPENING and kind == "sign":
            depth += 1


class Compared(NamedTuple):
    """What an alert's rule compares, and the number it compares that with, if it is one."""

    measured: str
    bound: float | None


def compared(expression: str) -> Compared:
    """The two sides of a rule's outermost comparison; the first is "" where it has none, as with
    `absent()`. A rule that joins two has no one number.
    """
    inner = _unwrapped(expression.strip())
    tokens = list(_tokens(inner))
    joined = any(t.depth == 0 and t.text in ("and", "or", "unless") for t in tokens)
    sides = [t for t in tokens if t.depth == 0 and t.text in _COMPARING]
    if joined or len(sides) != 1:
        return Compared("", None)
    left, right = inner[: sides[0].begin].strip(), inner[sides[0].end :].strip()
    # Written the other way round: 0.05 < rate(…).
    if want := comparison(f"< {left}"):
        return Compared(right, want.bound)
    want = comparison(f"< {right}")
    return Compared(left, want.bound if want else None)


def measured(expression: str) -> str:
    """What a rule compares with something; "" where it compares nothing."""
    return compared(expression).measured


def _unwrapped(expression: str) -> str:
    tokens = list(_tokens(expression))
    while (
        tokens
        and tokens[0].text == "("
        and tokens[-1].text == ")"
        and all(token.depth > 0 for token in tokens[1:-1])
    ):
        expression = expression[tokens[0].end : tokens[-1].begin].strip()
        tokens = list(_tokens(expression))
    return expression


def selectors(expression: str) -> list[str]:
    """The bare series selectors of an expression, such as `errors_total{job="x"}`: only of these
    can the age be asked.
    """
    tokens = list(_tokens(expression))
    found: list[str] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        following = tokens[at + 1].text if at + 1 < len(tokens) else ""
        if token.text.lower() in _GROUPING and following == "(":
            at = _matching(tokens, at + 1) + 1  # labels, not series
            continue
        is_series = token.kind == "name" and token.text.lower() not in _WORDS and following != "("
        is_series &= following.lower() not in ("by", "without")  # sum by (pod) (…)
        if token.text == "[":
            at = _matching(tokens, at) + 1
            continue
        if is_series:
            end = token.end
            if following == "{":
                at = _matching(tokens, at + 1)
                end = tokens[at].end
            found.append(expression[token.begin : end])
        elif token.text == "{":
            close = _matching(tokens, at)
            found.append(expression[token.begin : tokens[close].end])
            at = close
        at += 1
    return list(dict.fromkeys(found))


def _matching(tokens: list[_Token], opening: int) -> int:
    """Where the bracket that opens there is closed."""
    depth = tokens[opening].depth
    for at in range(opening + 1, len(tokens)):
        if tokens[at].text in _CLOSING and tokens[at].depth == depth:
            return at
    return len(tokens) - 1


def doubts(expression: str) -> list[str]:
    """What makes an expression useless as a criterion."""
    tokens = list(_tokens(expression))
    words = [token.text.lower() for token in tokens]
    found: list[str] = []
    if "bool" in words:
        found.append("bool turns NaN into 0: ask for the number, and let `want` compare it")
    if any(a == "or" and b == "vector" for a, b in pairwise(words)):
        found.append("or vector(…) turns missing data into a number: leave it out")
    return found
