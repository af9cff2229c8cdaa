"""Flags in Unleash: switched by its admin API, verified by what applications see."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, ClassVar

from keptn_remedy import PermanentError, TemporaryError
from keptn_remedy_actions.flag_backends import Evaluation, Flag, LeftAlone, Restored, Switch
from keptn_remedy_actions.flag_backends.unleash_api import FlagState, Gone, Strategy, UnleashApi


@dataclass(frozen=True, slots=True)
class Unleash:
    """A `FlagStore` in one environment of one Unleash project.

    `client_tokens` are those of applications. With one for this environment, `verify` also looks at
    what applications see.
    """

    api: UnleashApi
    client_tokens: Collection[str] = ()

    POLL_SECONDS: ClassVar[int] = 1
    """The interval at which `verify` looks at what applications see."""

    @property
    def place(self) -> str:
        return self.api.place

    async def find(self, name: str, *, on: bool) -> Flag:
        state = await self.api.read(name)
        target = f"unleash:{self.api.project}/{self.api.environment}/{name}"
        kept = {"id", "disabled"}
        strategies = [strategy.model_dump(include=kept) for strategy in state.strategies]
        return Flag(name, target, state.enabled, strategies)

    async def switch(self, switches: Sequence[Switch]) -> None:
        for switch in switches:
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
        return replace(await self._seen(switches, seconds), left=left)

    async def _seen(self, switches: Sequence[Switch], seconds: float) -> Evaluation:
        if not self.client_tokens:
            return Evaluation()
        token = _token_for(self.api.environment, self.client_tokens)
        if token is None:
            unseen = f"no token in UNLEASH_CLIENT_TOKEN is for {self.api.environment}"
            return Evaluation(seen={switch.flag.name: unseen for switch in switches})
        return await self._as_applications_see_it(switches, token, seconds)

    async def restore(self, switches: Sequence[Switch], left: Mapping[str, Any]) -> Restored:
        put_back, left_alone, remarks = list[str](), list[str](), list[str]()
        failures: list[PermanentError | TemporaryError] = []
        for switch in reversed(switches):
            name = switch.flag.name
            try:
                state = await self.api.read(name)
                if state.enabled is not switch.on:
                    continue  # never switched, or switched back already, by us or by somebody else
                remarks += await self._restore(switch, state, left.get(name))
                put_back.append(name)
            except LeftAlone as error:
                left_alone.append(f"{name} in {self.place} {error}")
            except Gone as error:
                left_alone.append(f"{name} is gone: {error}")
            except (PermanentError, TemporaryError) as error:
                # Go on: one flag that can't be restored must not keep the others from it.
                failures.append(error)
        if failures:
            # A temporary error first: another attempt may restore the flag.
            raise min(failures, key=lambda failure: isinstance(failure, PermanentError))
        return Restored(put_back, left_alone, remarks)

    async def _restore(self, switch: Switch, state: FlagState, left: Any) -> Sequence[str]:
        """Switch the flag back, and say what stays of what Unleash added to it."""
        # Before switching off: after a crash in between, the next undo must find the flag still on.
        remarks = await self._remove_default_strategy(switch, state, left)
        await self.api.switch(switch.flag.name, on=not switch.on)
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
        self, switches: Sequence[Switch], token: str, seconds: float
    ) -> Evaluation:
        # Imported here: UnleashClient takes 0.3 s and 40 MB.
        from keptn_remedy_actions.flag_backends import unleash_view

        sights = await unleash_view.watch(
            f"{self.api.url}/api",
            token,
            self.api.environment,
            {switch.flag.name: switch.on for switch in switches},
            seconds=seconds,
            poll_seconds=self.POLL_SECONDS,
            request_seconds=self.api.timeout_seconds,
        )
        seen = {name: sight.said for name, sight in sights.items()}
        disagreeing = {name: sight for name, sight in sights.items() if not sight.agrees}
        contrary = [f"{name} {sight.said}" for name, sight in disagreeing.items() if sight.is_known]
        if not contrary:
            # The admin API confirmed the switch: a look that failed is no reason to undo it.
            doubts = [f"{name} {sight.said}" for name, sight in disagreeing.items()]
            return Evaluation(doubt=", ".join(doubts), seen=seen)
        asked = ", ".join(map(str, switches))
        return Evaluation(
            f"{asked} in {self.place}, but after {seconds:g} s applications still see:"
            f" {', '.join(contrary)}",
            seen=seen,
        )


def _added(switch: Switch, state: FlagState) -> list[Strategy]:
    """The strategies that were added since to a flag that had no active one.

    Unleash adds a default strategy to such a flag when it is switched on.
    """
    before = [Strategy.model_validate(strategy) for strategy in switch.flag.image]
    if not switch.on or not all(strategy.disabled for strategy in before):
        return []
    known = {strategy.id for strategy in before}
    return [strategy for strategy in state.strategies if strategy.id not in known]


def _image(strategy: Strategy) -> Any:
    """Enough to see a change. A digest, because constraints may name people."""
    return {"id": strategy.id, "sha256": sha256(strategy.model_dump_json().encode()).hexdigest()}


def _token_for(environment: str, tokens: Collection[str]) -> str | None:
    """The token whose middle part, as in `default:production.secret`, is the environment."""
    return next((t for t in tokens if t.partition(":")[2].startswith(f"{environment}.")), None)
