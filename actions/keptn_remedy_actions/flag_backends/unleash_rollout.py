"""A percentage in Unleash: the rollout of a flag's only active strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keptn_remedy import PermanentError, TemporaryError
from keptn_remedy_actions.flag_backends import (
    Evaluation,
    Flag,
    FlagStore,
    Restored,
    Switch,
    Wish,
    percentage,
    share,
)
from keptn_remedy_actions.flag_backends.compared import Found
from keptn_remedy_actions.flag_backends.unleash_api import UnleashApi
from keptn_remedy_actions.flag_backends.unleash_feature import Strategy

_GRADUAL: Final = "flexibleRollout"


@dataclass(frozen=True, slots=True)
class Rollout:
    """A `Backend` for percentages of flags that are on. One request changes the rollout."""

    api: UnleashApi

    @property
    def place(self) -> str:
        return self.api.place

    def target(self, name: str) -> str:
        return f"unleash:{self.api.project}/{self.api.environment}/{name}"

    async def read(self, name: str) -> Found:
        state = await self.api.read(name)
        active = [{"id": s.id, "name": s.name, "rollout": _rollout(s)} for s in state.active]
        narrowed = any(s.constraints or s.segments for s in state.active)
        warnings = (f"the constraints of {name} stay",) if narrowed else ()
        return Found({"enabled": state.enabled, "active": active}, warnings=warnings)

    def enabled(self, found: Found, wish: Wish) -> bool | str:
        active = found.fields["active"]
        if not found.fields["enabled"]:
            return False
        if len(active) == 1 and active[0]["rollout"].isdecimal():
            return share(int(active[0]["rollout"]))
        return "for whom its strategies say"

    def wished(self, name: str, found: Found, wish: Wish) -> Any:
        if not found.fields["enabled"]:
            raise PermanentError(f"{name} is off in {self.place}: {wish} is for a flag that is on")
        active = found.fields["active"]
        if len(active) != 1 or active[0]["name"] != _GRADUAL:
            raise PermanentError(
                f"{wish} of {name} in {self.place} needs one active strategy, {_GRADUAL}: it has"
                f" {', '.join(each['name'] for each in active) or 'none'}"
            )
        return {"enabled": True, "active": [{**active[0], "rollout": str(percentage(wish))}]}

    async def write(self, name: str, found: Found, fields: Any) -> None:
        [strategy] = fields["active"]
        await self.api.set_rollout(name, strategy["id"], strategy["rollout"])

    async def examine(self) -> str:
        return self.place

    async def seen(self, name: str) -> bool | None:
        return None


@dataclass(frozen=True, slots=True)
class ByWish:
    """A `FlagStore` that has percentages in one store, and everything else in another."""

    switches: FlagStore
    shares: FlagStore

    @property
    def place(self) -> str:
        return self.switches.place

    async def find(self, name: str, wish: Wish) -> Flag:
        store = self.switches if percentage(wish) is None else self.shares
        return await store.find(name, wish)

    async def switch(self, switches: Sequence[Switch]) -> None:
        for store, its in self._each(switches):
            await store.switch(its)

    async def verify(self, switches: Sequence[Switch], *, seconds: float) -> Evaluation:
        found = [await s.verify(its, seconds=seconds) for s, its in self._each(switches)]
        return Evaluation(
            ", ".join(each.contrary for each in found if each.contrary),
            ", ".join(each.doubt for each in found if each.doubt),
            {name: said for each in found for name, said in each.seen.items()},
            {name: image for each in found for name, image in each.left.items()},
        )

    async def restore(self, switches: Sequence[Switch], left: Mapping[str, Any]) -> Restored:
        found, failures = list[Restored](), list[PermanentError | TemporaryError]()
        for store, its in reversed(self._each(switches)):
            try:
                found.append(await store.restore(its, left))
            except (
                PermanentError,
                TemporaryError,
            ) as error:  # the others are restored all the same
                failures.append(error)
        if failures:
            raise min(failures, key=lambda failure: isinstance(failure, PermanentError))
        return Restored(
            [name for each in found for name in each.put_back],
            [why for each in found for why in each.left_alone],
            [remark for each in found for remark in each.remarks],
        )

    def _each(self, switches: Sequence[Switch]) -> list[tuple[FlagStore, Sequence[Switch]]]:
        """The stores that have any of these flags."""
        shares = [switch for switch in switches if percentage(switch.wish) is not None]
        others = [switch for switch in switches if switch not in shares]
        both = [(self.switches, others), (self.shares, shares)]
        return [(store, its) for store, its in both if its]


def _rollout(strategy: Strategy) -> str:
    return str((strategy.parameters or {}).get("rollout", ""))
