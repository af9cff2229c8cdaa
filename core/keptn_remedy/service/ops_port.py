"""The ops port, put together: probes, metrics, the API, the page, and the door for agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from keptn_remedy.ops.operator_api import OperatorApi
from keptn_remedy.ops.page.built import BuiltPage
from keptn_remedy.ops.page.problem_screens import Problems, ReadingOfEpisodes
from keptn_remedy.ops.port import OpsPort
from keptn_remedy.service.engine import Engine
from keptn_remedy.service.foundation import Foundation, installed_version
from keptn_remedy.service.readiness import Readiness

if TYPE_CHECKING:
    from keptn_remedy.ops.agents.door import Door
    from keptn_remedy.ops.episode_api import EpisodeApi
    from keptn_remedy.service.standalone import Standalone


def build_ops_port(
    base: Foundation,
    engine: Engine,
    readiness: Readiness,
    standalone: Standalone | None,
    door: Door | None,
) -> OpsPort:
    """The ops port, with what each part of it reads and orders."""
    operator_api = None
    if base.operator_token:
        operator_api = OperatorApi(
            base.journal,
            base.operator_token,
            base.pauses,
            engine.look,
            base.mask,
            base.metrics,
        )
    return OpsPort(
        base.settings.ops_host,
        base.settings.ops_port,
        journal=base.journal,
        registry=base.registry,
        metrics=base.metrics,
        readiness=readiness.look,
        pauses=base.pauses,
        mask=base.mask,
        version=installed_version(),
        operator_api=operator_api,
        page=_page(base, engine, readiness, standalone),
        episode_api=_episode_api(base),
        door=door,
        names=base.settings.host_names,
    )


def _episode_api(base: Foundation) -> EpisodeApi | None:
    if base.settings.transport != "standalone":
        return None
    from keptn_remedy.ops.episode_api import EpisodeApi

    return EpisodeApi(base.journal, base.mask)


def _page(
    base: Foundation, engine: Engine, readiness: Readiness, standalone: Standalone | None
) -> BuiltPage:
    problems = None
    if standalone:
        reading = cast("ReadingOfEpisodes", base.browsing)
        problems = Problems(reading, lambda: standalone.configuration.rules)
    return BuiltPage(
        journal=base.journal,
        browsing=base.browsing,
        registry=base.registry,
        pauses=base.pauses,
        policy=base.policy,
        readiness=readiness.look,
        look=engine.look,
        clock=base.clock,
        metrics=base.metrics,
        mask=base.mask,
        version=installed_version(),
        operators=base.operators,
        token=base.operator_token,
        is_public=base.settings.page_public,
        link_templates=base.settings.links,
        problems=problems,
    )
