"""toggle-feature: switch feature flags on or off, in whatever store they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeGuard

from aiohttp import ClientSession
from pydantic import BeforeValidator

from keptn_remedy import (
    Change,
    Context,
    Denied,
    Finding,
    Outcome,
    PermanentError,
    Plan,
    PlannedAction,
)
from keptn_remedy_actions.flag_backends import Flag, FlagStore, Switch, Wish
from keptn_remedy_actions.flag_backends.settings import ToggleFeatureSettings
from keptn_remedy_actions.flag_backends.stores import Memo, Stores

__all__ = ["ToggleFeature", "ToggleFeatureSettings"]

_ON = ("on", "true", "yes", "enabled", "1")
_OFF = ("off", "false", "no", "disabled", "0")
_EXAMPLE = '{"PromotionCampaign": "off"}'
# An error, not a note: it may be a misspelt flag, which would not be switched.
_FOREIGN = "if another action left it there, set REMEDY_VALUE_SOURCE=remediation.yaml"
# Looking ends this long before the deadline, so that its result can still be reported.
_REPORT_SECONDS = 2.0

Pairs = Mapping[Any, Any]


def _read_wish(sent: Any) -> Any:
    """On or off, in any of the words that YAML and people use for them; or a variant's name."""
    word = str(sent).strip()
    if isinstance(sent, str | int) and word.lower() in _ON + _OFF:
        return word.lower() in _ON
    if isinstance(sent, str) and word and word.isprintable():
        return word
    raise ValueError(f"must be on or off, or the name of a variant; {_FOREIGN}")


def _read_pairs(value: Any) -> Any:
    """Reads `Name:on` of Keptn 0.6 too; several are separated by commas (docs/keptn.md#k38)."""
    if not isinstance(value, str):
        return value
    pairs = [pair.rpartition(":") for pair in value.split(",")]
    if not all(name.strip() and ":" not in name for name, _, _ in pairs):
        raise ValueError('must be a map, or a text such as "PromotionCampaign:off"')
    return _each_once([(name, switch) for name, _, switch in pairs])


def _each_once(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    switches = {name.strip(): switch for name, switch in pairs}
    if len(switches) < len(pairs):
        raise ValueError("names a flag more than once")
    for name in switches:
        if not name or not name.isprintable():
            raise ValueError(f"{name!r} is not the name of a flag")
    return switches


def _is_map(value: Any) -> TypeGuard[Pairs]:
    return isinstance(value, Mapping)


def _read_switches(value: Any) -> Any:
    pairs = _read_pairs(value)
    if not _is_map(pairs) or not pairs:
        raise ValueError(f"must map at least one flag to on, off or a variant, such as {_EXAMPLE}")
    return _each_once([(str(name), switch) for name, switch in pairs.items()])


Wished = Annotated[Wish, BeforeValidator(_read_wish, json_schema_input_type=bool | str | int)]


class ToggleFeature(PlannedAction):
    """Switch feature flags on or off; all of them, or none."""

    name = "toggle-feature"
    aliases = ("featuretoggle", "togglefeature", "feature-toggle")
    env_prefix = ""  # UNLEASH_URL is the common name

    Settings: ClassVar[Any] = ToggleFeatureSettings
    Value: ClassVar[Any] = Annotated[
        dict[str, Wished],
        BeforeValidator(_read_switches, json_schema_input_type=dict[str, Wished] | str),
    ]

    settings: ToggleFeatureSettings

    def __init__(self, settings: ToggleFeatureSettings) -> None:
        super().__init__(settings)
        self._stores = Stores(settings)

    async def close(self) -> None:
        await self._stores.close()

    async def plan(self, context: Context, value: Mapping[str, Wish]) -> Plan:
        memo = self._stores.memo(context)
        store = self._stores.store(context, memo)
        # All are read before the first is changed: one that can't be switched stops them all.
        memo.switches = [
            Switch.of(await _found(store, name, wish), wish) for name, wish in value.items()
        ]
        return Plan(
            changes=tuple(change for switch in memo.switches for change in _changes(switch)),
            notes=tuple(note for switch in memo.switches for note in _notes(switch)),
            memo=memo.model_dump(mode="json"),
        )

    async def apply(self, context: Context, plan: Plan) -> None:
        memo = Memo.model_validate(plan.memo)
        await self._stores.store(context, memo).switch([s for s in memo.switches if s.changes])

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        memo = Memo.model_validate(plan.memo)
        store = self._stores.store(context, memo)
        remaining = context.seconds_left - _REPORT_SECONDS
        seconds = max(0.0, min(self.settings.unleash_verify_seconds, remaining))
        evaluation = await store.verify(memo.switches, seconds=seconds)
        for switch in memo.switches:
            if image := evaluation.left.get(switch.flag.name):
                kept = {"execution": context.trigger.id, "image": image}
                await context.memory.put(_left_at(switch), kept)
        details = {"seen": dict(evaluation.seen)} if evaluation.seen else {}
        if not evaluation.holds:
            return Outcome.failed(evaluation.contrary, **details)
        done = f"{', '.join(map(str, memo.switches))} in {store.place}"
        if evaluation.doubt:
            return Outcome.warned(f"{done}; what applications see: {evaluation.doubt}", **details)
        return Outcome.passed(done, **details)

    async def undo(self, context: Context, plan: Plan) -> str | None:
        memo = Memo.model_validate(plan.memo)
        switches = [switch for switch in memo.switches if switch.changes]
        if not switches:
            return "there was nothing to undo"
        left = {switch.flag.name: await _left(context, switch) for switch in switches}
        restored = await self._stores.store(context, memo).restore(switches, left)
        if len(restored.left_alone) == len(switches):
            raise Denied("; ".join(restored.left_alone))
        done = "undone" if restored.put_back else "it is as it was before"
        if but := "; ".join((*restored.left_alone, *restored.remarks)):
            return f"{done}, but: {but}"
        return None if restored.put_back else done

    async def diagnose(self, http: ClientSession, namespaces: Sequence[str]) -> Sequence[Finding]:
        return await self._stores.diagnose(http, namespaces)


async def _found(store: FlagStore, name: str, wish: Wish) -> Flag:
    try:
        return await store.find(name, wish)
    except PermanentError as error:
        if isinstance(wish, bool):
            raise
        # What is neither on nor off may be meant for another action.
        raise PermanentError(f"{error} ({_FOREIGN})") from None


def _left_at(switch: Switch) -> str:
    """The key in the action's memory for the newest after-image of a flag."""
    return f"left {switch.flag.target}"


async def _left(context: Context, switch: Switch) -> Any:
    """The flag's after-image, unless a later execution left another."""
    kept: Mapping[str, Any] = await context.memory.get(_left_at(switch)) or {}
    return kept.get("image") if kept.get("execution") == context.trigger.id else None


def _changes(switch: Switch) -> Iterator[Change]:
    if switch.changes:
        flag: Flag = switch.flag
        yield Change(flag.target, "enabled", flag.enabled, switch.wanted)
        if flag.adds:
            yield Change(flag.target, "strategies", "none that is active", flag.adds)


def _notes(switch: Switch) -> Iterator[str]:
    if not switch.changes:
        yield f"{switch.flag.name} was {switch.said} already"
    yield from switch.flag.warnings
