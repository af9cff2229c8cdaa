"""Disruption budgets, which neither a scaling nor a restart asks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keptn_remedy import Denied
from keptn_remedy_actions.cluster import DEPLOYMENT, STATEFUL_SET, Kind
from keptn_remedy_actions.cluster.action import ClusterAction
from keptn_remedy_actions.cluster.budgets import BUDGET
from keptn_remedy_actions.restart import Restart
from keptn_remedy_actions.scale import Scale
from tests.actions.driving import Driven, driven
from tests.actions.objects import showing

LABELS = {"app": "carts", "tier": "web"}
ALL_IN = {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web", "db"]}]}
NONE_OF = {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}


def carts(**spec: Any) -> Any:
    template = {"metadata": {"labels": LABELS}}
    return {"metadata": {"name": "carts", "uid": "1"}, "spec": {"template": template, **spec}}


def budget(selector: Any = None, *, allowed: int = 0, **spec: Any) -> Any:
    return {
        "spec": {"selector": selector or {"matchLabels": {"app": "carts"}}, **spec},
        "status": {"expectedPods": 3, "disruptionsAllowed": allowed},
    }


@asynccontextmanager
async def acting(
    folder: Path, action: type[ClusterAction], kind: Kind, workload: Any, found: Any
) -> AsyncIterator[Driven]:
    objects = {(kind, "carts"): workload, (BUDGET, "two"): found}
    async with showing(folder, objects) as kubeconfig:
        made = action(action.Settings(kubeconfig=kubeconfig))
        async with driven(made) as drive:
            yield drive
        await made.close()


@pytest.mark.parametrize(
    ("found", "is_refused"),
    [
        (budget(minAvailable=2), True),
        (budget(ALL_IN, minAvailable=2), True),
        (budget(minAvailable=1), False),
        (budget(minAvailable="90%"), False),  # of however many there are
        (budget(maxUnavailable=0), False),
        (budget(NONE_OF, minAvailable=2), False),
        (budget({"matchLabels": {"app": "orders"}}, minAvailable=2), False),
    ],
)
async def test_a_scaling_leaves_as_many_as_a_budget_wants(
    tmp_path: Path, found: Any, is_refused: bool
) -> None:
    async with acting(tmp_path, Scale, DEPLOYMENT, carts(replicas=3), found) as drive:
        if is_refused:
            with pytest.raises(Denied, match="PodDisruptionBudget two wants 2 pods available, so"):
                await drive.plan(1)
            assert (await drive.plan(2)).changes
        else:
            assert (await drive.plan(1)).changes


@pytest.mark.parametrize(
    ("kind", "strategy", "allowed", "is_noted"),
    [
        (STATEFUL_SET, {}, 0, True),
        (STATEFUL_SET, {}, 1, False),
        (DEPLOYMENT, {}, 0, False),  # a quarter of 3 is 0 pods: new ones come first
        (DEPLOYMENT, {"replicas": 4}, 0, True),
        (DEPLOYMENT, {"strategy": {"type": "Recreate"}}, 0, True),
        (DEPLOYMENT, {"strategy": {"rollingUpdate": {"maxUnavailable": 1}}}, 0, True),
        (DEPLOYMENT, {"strategy": {"rollingUpdate": {"maxUnavailable": 0}}}, 0, False),
    ],
)
async def test_a_restart_notes_a_budget_that_allows_no_disruption(
    tmp_path: Path, kind: Kind, strategy: Any, allowed: int, is_noted: bool
) -> None:
    workload = carts(**{"replicas": 3, **strategy})
    async with acting(tmp_path, Restart, kind, workload, budget(allowed=allowed)) as drive:
        notes = (await drive.plan({})).notes
    assert ["PodDisruptionBudget two allows no disruption now" in note for note in notes] == (
        [True] if is_noted else []
    )
