"""The text of a flagd file: what its flags say, and edits that leave what isn't ours as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from keptn_remedy_actions.flag_backends import json_text
from keptn_remedy_actions.flag_backends.flagd_definition import FIELDS, Definition, has_map


class NotFlagd(ValueError):
    """The text is no JSON document with flags."""


class Document:
    """One text of https://flagd.dev/schema/v0/flags.json. Raises NotFlagd where it is another."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            parsed: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise NotFlagd(f"is not JSON: {error}") from None
        if not has_map(parsed, "flags"):
            raise NotFlagd('is not a flagd file: it has no map named "flags"')
        self.flags: Definition = parsed["flags"]

    def written(self, flag: str) -> Mapping[str, str]:
        """The fields that decide how the flag evaluates, as they are written."""
        found = json_text.members(self.text, self._object(flag))
        return {each.key: self.text[each.value : each.end] for each in found if each.key in FIELDS}

    def with_fields(self, flag: str, fields: Definition, written: Mapping[str, str]) -> Document:
        """The document whose flag has these fields and no other of them.

        `written` has the text of those that are known from before.
        """
        text, start, now = self.text, self._object(flag), self.flags[flag]
        for name in FIELDS:
            if name not in fields:
                text = json_text.without_member(text, start, name)
            elif name not in now or now[name] != fields[name]:
                value = written.get(name) or self._dumped(fields[name])
                text = json_text.with_member(text, start, name, value)
        return Document(text)

    def _dumped(self, value: Any) -> str:
        # Escapes stay escapes: they may be halves of characters, which UTF-8 can't encode.
        return json.dumps(value, ensure_ascii=self.text.isascii() or "\\u" in self.text)

    def _object(self, flag: str) -> int:
        """Where the definition of the flag begins."""
        start = json_text.first(self.text)
        for key in ("flags", flag):
            found = json_text.member(self.text, start, key)
            assert found is not None  # noqa: S101 - it was parsed
            start = found.value
        return start
