"""Flags in Unleash: switched by its admin API, verified by what applications see."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, ClassVar

from keptn_remedy import Denied, PermanentError, TemporaryError
from keptn_remedy_actions.flag_backends import (
    Evaluation,
    Flag,
    LeftAlone,
    Restored,
    Switch,
    Wish,
    on_or_off,
)
from keptn_remedy_actions.flag_backends.restoring import restored
from keptn_remedy_actions.flag_backends.settings import OnWithoutStrategy
from keptn_remedy_actions.flag_backends.unleash_api import UnleashApi
from keptn_remedy_actions.flag_backends.unleash_feature import FlagState, Parent, Strategy

# The time after which applications are given a change, and some to spare.
_SEEN_SECONDS = 2.0
_ADDED = "the default one, for everybody unless the project says otherwise"


@dataclass(frozen=True, slots=True)
class Unleash:
    """A `FlagStore` in one environment of one Unleash project.

    `client_tokens` are those of applications. With one for this environment, `verify` also looks at
    what applications see. `on_without_strategy` says what happens to a flag that is to go on and
    has disabled strategies only: Unleash then adds one for everybody.
    """

    api: UnleashApi
    client_tokens: Collection[str] = ()
    on_without_strategy: OnWithoutStrategy = "refuse"

    POLL_SECONDS: ClassVar[float] = 1.0
    """The interval at which `verify` looks at what applications see."""

    @property
    def place(self) -> str:
        return self.api.place

    async def find(self, name: str, wish: Wish) -> Flag:
        if isinstance(wish, str):
            raise PermanentError(f"{name} can only be on or off in Unleash, not {wish!r}")
        on = wish
        state = await self.api.read(name)
        target = f"unleash:{self.api.project}/{self.api.environment}/{name}"
        kept = {"id", "disabled"}
        strategies = [strategy.model_dump(include=kept) for strategy in state.strategies]
        flag = Flag(name, target, state.enabled, strategies)
        if not on:
            return replace(flag, warnings=await self._children(state, name, on=on))
        adds = "" if state.enabled or state.active else _ADDED
        if adds and state.strategies and self.on_without_strategy == "refuse":
            raise Denied(
                f"{self._only_disabled(name)}; enable one of them in Unleash, or set"
                " UNLEASH_ON_WITHOUT_STRATEGY=warn"
            )
        warnings = (*self._strategies(state, name), *await self._children(state, name, on=on))
        return replace(flag, adds=adds, warnings=warnings)

    async def switch(self, switches: Sequence[Switch]) -> None:
        for switch in switches:
            state = await self.api.read(switch.flag.name)
            if state.enabled is switch.on:
                continue
            if switch.on and not state.active and not _adds(switch):
                raise PermanentError(
                    f"{switch.flag.name} lost its active strategies in {self.place} after this was"
                    " planned, so Unleash would give it to everybody; it was not switched on"
                )
            await self.api.switch(switch.flag.name, on=switch.on)

    async def verify(self, switches: Sequence[Switch], *, seconds: float) -> Evaluation:
        states = [(switch, await self.api.read(switch.flag.name)) for switch in switches]
        contrary = [str(switch) for switch, state in states if state.enabled is not switch.on]
        if contrary:
            return Evaluation(f"no longer {', '.join(contrary)} in {self.place}: switched back")
        left = {
            switch.flag.name: _image(added[0])
            for switch, state in states
            if switch.changes and len(added := _added(switch, state)) == 1
        }
        against = [why for switch, state in states for why in await self._parents(switch, state)]
        token = _token_for(self.api.environment, self.client_tokens)
        if token:
            seen = await self._as_applications_see_it(switches, token, seconds, against)
        else:
            seen = Evaluation(
                doubt=", ".join(against),
                seen={switch.flag.name: self._unseen for switch in switches},
            )
        return replace(seen, left=left)

    @property
    def _unseen(self) -> str:
        """Why nobody looks at what applications see."""
        if self.client_tokens:
            return f"no token in UNLEASH_CLIENT_TOKEN is for {self.api.environment}"
        return "not looked at (UNLEASH_CLIENT_TOKEN is not set)"

    def _only_disabled(self, name: str) -> str:
        return (
            f"all strategies of {name} in {self.place} are disabled: switched on, Unleash adds its"
            " default one, which gives the flag to everybody unless the project says otherwise"
        )

    def _strategies(self, state: FlagState, name: str) -> Sequence[str]:
        """What the strategies of a flag that is to be on do about that."""
        if state.strategies and not state.active and not state.enabled:
            return (self._only_disabled(name),)
        if state.active and all(strategy.reaches_nobody for strategy in state.active):
            return (f"nobody gets {name}: the rollout of its active strategies is 0 %",)
        return ()

    async def _children(self, state: FlagState, name: str, *, on: bool) -> Sequence[str]:
        """The flags that are on only while this one is as it will no longer be.

        One that goes off with its parent is what its dependency is for.
        """
        if state.enabled is on:
            return ()
        found = [(child, await self.api.look(child)) for child in state.children]
        said = "off" if on else "on"
        return tuple(
            f"applications then see {child} {said}, which depends on {name} being off"
            for child, its in found
            if its and its.enabled and Parent(feature=name, enabled=False) in its.parents
        )

    async def _parents(self, switch: Switch, state: FlagState) -> Sequence[str]:
        """The parents that keep a flag off which is on."""
        if not switch.on:
            return ()
        name = switch.flag.name
        found = [(parent, await self.api.look(parent.feature)) for parent in state.parents]
        return [
            f"{name} off, because its parent {parent.feature} is {on_or_off(its.enabled)}"
            if its
            else f"{name} as its parent {parent.feature} allows, which can't be read"
            for parent, its in found
            if not its or its.enabled is not parent.enabled
        ]

    async def restore(self, switches: Sequence[Switch], left: Mapping[str, Any]) -> Restored:
        async def restore(switch: Switch) -> Sequence[str] | None:
            name = switch.flag.name
            state = await self.api.read(name)
            if state.enabled is not switch.on:
                return None  # never switched, or switched back already, by us or by somebody else
            return await self._restore(switch, state, left.get(name))

        return await restored(switches, self.place, restore)

    async def _restore(self, switch: Switch, state: FlagState, left: Any) -> Sequence[str]:
        """Switch the flag back, and say what stays of what Unleash added to it."""
        if not switch.on and not state.active and not _had_no_active(switch):
            raise LeftAlone(
                "lost its active strategies since: switched on, Unleash would give it to everybody,"
                " so it is left alone"
            )
        # Before switching off: after a crash in between, the next undo must find the flag still on.
        remarks = await self._remove_default_strategy(switch, state, left)
        await self.api.switch(switch.flag.name, on=not switch.on)
        if (await self.api.read(switch.flag.name)).enabled is switch.on:
            raise TemporaryError(
                f"{switch} in {self.place} was not undone: switched back meanwhile"
            )
        return remarks

    async def _remove_default_strategy(
        self, switch: Switch, state: FlagState, left: Any
    ) -> Sequence[str]:
        """Remove the strategy that Unleash added, unless it was changed since."""
        name, added = switch.flag.name, _added(switch, state)
        if left:
            added = [strategy for strategy in added if strategy.id == left["id"]]
            if added and _image(added[0]) != left:
                raise LeftAlone(
                    f"has another {added[0].name} strategy than the default one that was expected:"
                    " it was changed since, so the flag is left alone"
                )
        if not added:
            return ()
        if len(added) > 1:
            return [
                f"{len(added)} strategies were added to {name} in {self.place} since; they stay"
            ]
        try:
            await self.api.delete_strategy(name, added[0].id)
        except PermanentError as error:
            # Without this permission the flag can still be switched off, which matters more.
            return [f"the strategy that Unleash added to {name} stays: {error}"]
        return ()

    async def _as_applications_see_it(
        self, switches: Sequence[Switch], token: str, seconds: float, against: Sequence[str]
    ) -> Evaluation:
        # Imported here: most executions need no client.
        from keptn_remedy_actions.flag_backends.unleash_view import View

        view = View(
            http=self.api.http,
            url=self.api.url,
            token=token,
            environment=self.api.environment,
            poll_seconds=self.POLL_SECONDS,
            request_seconds=self.api.timeout_seconds,
        )
        sights = await view.watch({s.flag.name: s.on for s in switches}, seconds=seconds)
        seen = {name: sight.said for name, sight in sights.items()}
        disagreeing = {name: sight for name, sight in sights.items() if not sight.agrees}
        contrary = [f"{name} {sight.said}" for name, sight in disagreeing.items() if sight.is_known]
        if not contrary or seconds < _SEEN_SECONDS:
            # The admin API confirmed the switch: a look that failed is no reason to undo it.
            doubts = [f"{name} {sight.said}" for name, sight in disagreeing.items()]
            return Evaluation(doubt=", ".join(against or doubts), seen=seen)
        asked = ", ".join(map(str, switches))
        return Evaluation(
            f"{asked} in {self.place}, but after {seconds:g} s applications still see:"
            f" {', '.join(against or contrary)}",
            seen=seen,
        )


def _had_no_active(switch: Switch) -> bool:
    """Whether the flag had no active strategy when it was found."""
    return all(Strategy.model_validate(strategy).disabled for strategy in switch.flag.image)


def _adds(switch: Switch) -> bool:
    """Whether switching the flag makes Unleash add a strategy, and the plan says so."""
    return switch.on and _had_no_active(switch)


def _added(switch: Switch, state: FlagState) -> list[Strategy]:
    """The strategies that were added since to a flag that had no active one.

    Unleash adds a default strategy to such a flag when it is switched on.
    """
    if not _adds(switch):
        return []
    known = {strategy["id"] for strategy in switch.flag.image}
    return [strategy for strategy in state.strategies if strategy.id not in known]


def _image(strategy: Strategy) -> Any:
    """Enough to see a change. A digest, because constraints may name people."""
    return {"id": strategy.id, "sha256": sha256(strategy.model_dump_json().encode()).hexdigest()}


def _token_for(environment: str, tokens: Collection[str]) -> str | None:
    """The token whose middle part, as in `default:production.secret`, is the environment."""
    return next((t for t in tokens if t.partition(":")[2].startswith(f"{environment}.")), None)
