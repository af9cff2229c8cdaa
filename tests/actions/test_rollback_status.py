"""When rollback and restart count a workload as rolled out."""

from typing import Any

import pytest

from keptn_remedy import Denied
from keptn_remedy_actions.cluster import (
    DAEMON_SET,
    DEPLOYMENT,
    ROLLOUT,
    STATEFUL_SET,
    Kind,
    Ref,
    Workload,
)
from keptn_remedy_actions.cluster.rollout import (
    COMPLETE,
    Progress,
    State,
    abort_progress,
    as_before,
    check_follows_its_template,
    is_empty,
    progress,
    restart_notes,
)

DEADLINE = "ProgressDeadlineExceeded"
ALL_THERE = {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3}
ON_ALL_NODES = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}


def workload(kind: Kind, spec: Any = None, generation: int = 2, **status: Any) -> Workload:
    live = {
        "metadata": {"generation": generation},
        "spec": {"replicas": 3, **(spec or {})},
        "status": {"observedGeneration": 2, **status},
    }
    return Workload(Ref(kind, "shop", "carts"), live)


def exceeded(name: str) -> Any:
    message = f'ReplicaSet "{name}" has timed out progressing.'
    return [{"type": "Progressing", "status": "False", "reason": DEADLINE, "message": message}]


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"updatedReplicas": 1}, "1 of 3 pods have its template"),
        ({"replicas": 5}, "2 pods with another template are still there"),
        ({"availableReplicas": 2}, "2 of 3 pods are available"),
    ],
)
def test_a_deployment_waits_for_all_pods(status: Any, why: str) -> None:
    assert progress(workload(DEPLOYMENT, **ALL_THERE)) == COMPLETE
    assert progress(workload(DEPLOYMENT, **{**ALL_THERE, **status})) == Progress("waiting", why)


def test_what_its_controller_has_not_seen_is_not_believed() -> None:
    for kind in (DEPLOYMENT, STATEFUL_SET, DAEMON_SET):
        assert progress(workload(kind, generation=3, **ALL_THERE)).state == "waiting"


def test_an_exceeded_deadline_is_the_end() -> None:
    stuck = workload(DEPLOYMENT, **ALL_THERE, conditions=exceeded("carts-2"))
    assert progress(stuck).state == "stuck"
    assert progress(stuck, replica_set="carts-2").state == "stuck"


def test_a_deadline_that_the_former_revision_exceeded_is_not() -> None:
    stale = workload(DEPLOYMENT, **ALL_THERE, conditions=exceeded("carts-2"))
    assert progress(stale, replica_set="carts-1") == COMPLETE


def test_a_daemon_set_waits_for_all_nodes() -> None:
    assert progress(workload(DAEMON_SET, **ON_ALL_NODES)) == COMPLETE
    behind = workload(DAEMON_SET, **{**ON_ALL_NODES, "updatedNumberScheduled": 1})
    assert progress(behind).why == "1 of 2 pods have its template"
    away = workload(DAEMON_SET, **{**ON_ALL_NODES, "numberAvailable": 1})
    assert progress(away).why == "1 of 2 pods are available"


def test_a_stateful_set_waits_for_pods_above_its_partition() -> None:
    spec = {"updateStrategy": {"rollingUpdate": {"partition": 1}}}
    status: dict[str, Any] = {"readyReplicas": 3, "currentRevision": "a", "updateRevision": "b"}
    assert progress(workload(STATEFUL_SET, spec, updatedReplicas=2, **status)) == COMPLETE
    assert progress(workload(STATEFUL_SET, spec, updatedReplicas=1, **status)).state == "waiting"


def test_a_stateful_set_without_a_partition_waits_for_its_revision() -> None:
    status: dict[str, Any] = {"readyReplicas": 3, "currentRevision": "a", "updatedReplicas": 3}
    assert progress(workload(STATEFUL_SET, updateRevision="b", **status)).state == "waiting"
    assert progress(workload(STATEFUL_SET, updateRevision="a", **status)) == COMPLETE
    status["readyReplicas"] = 2
    assert progress(workload(STATEFUL_SET, updateRevision="a", **status)).state == "waiting"


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        ("Healthy", "complete"),
        ("Progressing", "waiting"),
        ("Paused", "waiting"),
        ("Degraded", "stuck"),
    ],
)
def test_a_rollout_is_what_its_phase_says(phase: str, state: str) -> None:
    seen = workload(ROLLOUT, phase=phase, message="m")
    assert progress(seen).state == state
    unseen = workload(ROLLOUT, generation=3, phase=phase)
    assert progress(unseen).state == "waiting"


def test_a_rollout_of_another_objects_template_waits_for_that() -> None:
    seen = workload(ROLLOUT, phase="Healthy", workloadObservedGeneration="4")
    assert progress(seen, holder={"metadata": {"generation": 5}}).state == "waiting"
    assert progress(seen, holder={"metadata": {"generation": 4}}) == COMPLETE


ALL_STABLE = {"status": {"availableReplicas": 3}}
ABORTED: Any = {"phase": "Degraded", "abort": True, "abortedAt": "2026-01-01T00:00:00Z"}


def test_an_aborted_update_ends_with_all_stable_pods() -> None:
    aborted = workload(ROLLOUT, **ABORTED).live
    assert abort_progress(aborted, aborted, ALL_STABLE) == COMPLETE
    assert abort_progress(aborted, aborted, {"status": {}}).why == "0 of 3 pods are available"


@pytest.mark.parametrize(
    "status",
    [
        {"abortedAt": None},  # what is late is Degraded, too
        {"phase": "Progressing"},
        {"observedGeneration": "1"},
    ],
)
def test_an_abort_is_not_over_before_its_controller_acted(status: Any) -> None:
    live = workload(ROLLOUT, **{**ABORTED, **status}).live
    assert abort_progress(live, live, ALL_STABLE).state == "waiting"


MISSED_ONE: dict[Kind, Any] = {
    DEPLOYMENT: {**ALL_THERE, "availableReplicas": 2},
    STATEFUL_SET: {**ALL_THERE, "readyReplicas": 2},
    DAEMON_SET: {
        "desiredNumberScheduled": 3,
        "currentNumberScheduled": 3,
        "updatedNumberScheduled": 3,
        "numberAvailable": 2,
    },
    ROLLOUT: {**ALL_THERE, "availableReplicas": 2, "phase": "Progressing"},
}


@pytest.mark.parametrize("kind", MISSED_ONE)
def test_a_pod_that_was_missing_before_is_not_missed_after_a_change(kind: Kind) -> None:
    seen = workload(kind, **MISSED_ONE[kind])
    assert progress(seen).state == "waiting"
    assert as_before(seen, 2, "") == "2 of 3 available, 2 were before"
    assert as_before(seen, 3, "") == ""
    unseen = workload(kind, generation=3, **MISSED_ONE[kind])
    assert as_before(unseen, 2, "") == ""


@pytest.mark.parametrize(
    "status",
    [
        {"updatedReplicas": 1},
        {"abort": True},
        {"stableRS": "a", "currentPodHash": "b"},
        {"pauseConditions": [{"reason": "InconclusiveAnalysisRun"}]},
    ],
)
def test_a_rollout_that_is_not_over_is_not_as_before(status: Any) -> None:
    assert as_before(workload(ROLLOUT, **{**MISSED_ONE[ROLLOUT], **status}), 2, "") == ""


def test_a_rollout_whose_restart_would_wait_is_told_at_planning() -> None:
    assert restart_notes(workload(ROLLOUT, **ALL_THERE)) == ()
    [note] = restart_notes(workload(ROLLOUT, **MISSED_ONE[ROLLOUT]))
    assert note.endswith("all of its ReplicaSets are available: 2 of 3 pods are")
    assert restart_notes(workload(DEPLOYMENT, **MISSED_ONE[DEPLOYMENT])) == ()


def canary(pause: Any) -> Any:
    return {"strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": pause}]}}}


@pytest.mark.parametrize(
    ("spec", "reason", "state"),
    [
        (canary({}), "CanaryPauseStep", "stuck"),
        (canary({"duration": "1h"}), "CanaryPauseStep", "waiting"),
        (canary({"duration": "1h"}), "InconclusiveAnalysisRun", "stuck"),
        ({"strategy": {"blueGreen": {}}}, "BlueGreenPause", "stuck"),
        ({"strategy": {"blueGreen": {"autoPromotionSeconds": 9}}}, "BlueGreenPause", "waiting"),
    ],
)
def test_a_pause_that_does_not_end_by_itself_is_the_end(
    spec: Any, reason: str, state: State
) -> None:
    status: Any = {"phase": "Paused", "message": reason, "currentStepIndex": 1}
    seen = progress(workload(ROLLOUT, spec, **status, pauseConditions=[{"reason": reason}]))
    hint = "; promote it, or set rollbackWindow" if state == "stuck" else ""
    assert seen == Progress(state, f"Paused: {reason}{hint}")


def test_reasons_are_told_once() -> None:
    late = Progress("stuck", "carts-1 has timed out.")
    assert late.because("carts-1 has timed out.; no image") == "carts-1 has timed out.; no image"
    assert late.because("", "no image") == "carts-1 has timed out.; no image"
    assert late.because() == "carts-1 has timed out."


def test_no_pods_ordered_is_empty() -> None:
    assert is_empty(workload(DEPLOYMENT, {"replicas": 0}))
    assert is_empty(workload(DAEMON_SET, desiredNumberScheduled=0))
    assert not is_empty(workload(STATEFUL_SET))


@pytest.mark.parametrize("kind", [DEPLOYMENT, ROLLOUT])
def test_paused_workloads_do_not_follow_their_template(kind: Kind) -> None:
    with pytest.raises(Denied, match="is paused, so nothing would happen; resume it first"):
        check_follows_its_template(workload(kind, {"paused": True}), "nothing would happen")
