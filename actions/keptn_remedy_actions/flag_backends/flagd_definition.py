"""What the definition of a flag in a flagd file means, and how it is switched and restored."""

from __future__ import annotations

import json
from typing import Any, TypeGuard, cast

from keptn_remedy_actions.flag_backends import LeftAlone, Switch, on_or_off

FIELDS = ("state", "defaultVariant", "targeting")
"""What decides how a flag evaluates: only these fields are written and restored."""

Definition = dict[str, Any]


def has_map(value: Any, name: str) -> TypeGuard[Definition]:
    """Whether the value is a map with a map under this name."""
    return isinstance(value, dict) and isinstance(cast("Definition", value).get(name), dict)


def choice(definition: Definition, *, on: bool) -> str | None:
    """The variant that means on or off, by its value, else by its name; None if there is none."""
    variants = definition["variants"]
    by_value = [name for name, value in variants.items() if value is on]
    default = _default_variant(definition)
    if default in by_value:
        return default
    if by_value:
        return on_or_off(on) if on_or_off(on) in by_value else by_value[0]
    is_boolean = any(isinstance(value, bool) for value in variants.values())
    return on_or_off(on) if on_or_off(on) in variants and not is_boolean else None


def enabled(definition: Definition, *, on: bool) -> bool | str:
    """Whether the flag is on for every caller, or in words what else decides.

    Where one variant can mean both, it counts as what is asked for by `on`.
    """
    if definition.get("state") != "ENABLED":
        return "state DISABLED, left to the callers' defaults"
    if definition.get("targeting"):
        return "decided by targeting"
    default = _default_variant(definition)
    if default is None:
        return "no default variant, left to the callers' defaults"
    for each in (on, not on):
        if default == choice(definition, on=each):
            return each
    return f"variant {default}"


def fields(definition: Definition) -> Definition:
    """The part of the definition that decides how the flag evaluates."""
    return {name: definition[name] for name in FIELDS if name in definition}


def write_fields(definition: Definition, values: Definition) -> None:
    """Give the definition these fields; those not in `values` are removed."""
    for name in FIELDS:
        if name in values:
            definition[name] = values[name]
        else:
            definition.pop(name, None)


def switched(before: Definition, variant: str) -> Definition:
    """The fields that give every caller this variant."""
    after = {**before, "state": "ENABLED", "defaultVariant": variant}
    if before.get("targeting"):
        after["targeting"] = {}
    return after


def image(definition: Definition) -> str:
    """The before-image: the fields, and the names of the variants."""
    # As text: targeting may hold what the journal's JSON can't, such as integers over 64 bits.
    return json.dumps({**fields(definition), "variants": list(definition["variants"])})


def fields_of(image: str) -> Definition:
    """The fields in a before-image."""
    return fields(json.loads(image))


def restore(flags: Definition, switch: Switch) -> bool:
    """Restore the fields of the before-image; False where they are so already.

    Raises:
        LeftAlone: they aren't as the switch left them.
    """
    definition = flags.get(switch.flag.name)
    if not has_map(definition, "variants"):
        raise LeftAlone("is gone")
    before, now = fields_of(switch.flag.image), fields(definition)
    if now == before:
        return False
    variant = choice({"variants": definition["variants"], **before}, on=switch.on)
    if variant is None or _lacks_default(definition, switch.flag.image):
        raise LeftAlone("was given other variants since, so it is left alone")
    if differences := _differences(now, switched(before, variant)):
        raise LeftAlone(f"was changed since ({differences}), so it is left alone")
    write_fields(definition, before)
    return True


def _default_variant(definition: Definition) -> str | None:
    default = definition.get("defaultVariant")
    if isinstance(default, bool):  # flagd reads true as the variant "true"
        return json.dumps(default)
    return default if isinstance(default, str) and default else None


def _lacks_default(definition: Definition, image: str) -> bool:
    """Whether the default variant of the before-image was removed since."""
    before = json.loads(image)
    default = _default_variant(before)
    return default in before.get("variants", ()) and default not in definition["variants"]


def _differences(now: Definition, expected: Definition) -> str:
    """What was found and what was expected, field by field."""
    return ", ".join(
        f"{name} is {_brief(now.get(name))}, and {_brief(expected.get(name))} was expected"
        for name in FIELDS
        if now.get(name) != expected.get(name)
    )


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return "a rule" if value else "none"
    return "none" if value is None else str(value)
