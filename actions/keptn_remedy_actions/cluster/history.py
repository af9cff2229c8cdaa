"""A workload's history in the cluster: its ReplicaSets or ControllerRevisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from keptn_remedy import Denied
from keptn_remedy_actions.cluster import (
    CONTROLLER_REVISION,
    DEPLOYMENT,
    POD,
    REPLICA_SET,
    ROLLOUT,
    Object,
    Ref,
    Workload,
    annotations_of,
    argo,
    is_controlled_by,
    is_ready,
    labels_of,
    meta_of,
    name_of,
    spec_of,
    status_of,
)
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.managers import wrote_last
from keptn_remedy_actions.cluster.obstacles import check_stays
from keptn_remedy_actions.cluster.revisions import (
    Health,
    Revision,
    contains,
    is_same_program,
    plain,
    restarted_at,
)
from keptn_remedy_actions.cluster.rollout import is_observed
from keptn_remedy_actions.cluster.trouble import selector

CAUSE = "kubernetes.io/change-cause"
REVISION_HASH = "controller-revision-hash"
_REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class History:
    """A workload, the holder of its template, and its revisions, the newest first.

    The holder is the workload itself, or what the `workloadRef` of a Rollout names.
    """

    workload: Workload
    holder: Workload
    revisions: Sequence[Revision]

    @property
    def template(self) -> Object:
        return plain(spec_of(self.holder.live)["template"])

    @property
    def touched(self) -> Sequence[Workload]:
        """The objects that a rollback changes or affects."""
        return (self.workload,) if self.holder == self.workload else (self.workload, self.holder)

    @property
    def is_observed(self) -> bool:
        """Whether the controller has recorded the live template."""
        if self.workload.ref.kind == ROLLOUT:
            return argo.is_observed(self.workload.live, self.holder.live)
        return is_observed(self.workload.live)

    def named(self, name: str) -> Revision | None:
        return next((each for each in self.revisions if each.name == name), None)

    def holds(self, name: str, *, instead_of: str) -> bool:
        """Whether this revision's program is live, possibly with defaults added after we set it."""
        revision = self.named(name)
        if revision is None or self.runs(name) or self.runs(instead_of):
            return self.runs(name)
        return self.is_written_by_us and contains(self.template, revision.template)

    def is_at(self, name: str) -> bool:
        """Whether exactly this revision is live; a restart makes another revision."""
        revision, live = self.named(name), self.live
        if revision and revision.template == self.template:
            return True
        return live is not None and live.name == name

    def grew_from(self, name: str) -> bool:
        """Whether this revision is live as we set it, with what defaults and webhooks added.

        Only true for the execution that set it last.
        """
        revision = self.named(name)
        if revision is None or restarted_at(revision.template) != restarted_at(self.template):
            return False
        return self.is_written_by_us and contains(self.template, revision.template)

    @property
    def is_written_by_us(self) -> bool:
        """Whether we were the last to write to the template."""
        return wrote_last(self.holder.live, "/spec/template")

    def runs(self, name: str) -> bool:
        """Whether this revision's program is live, recorded by the controller or not yet."""
        revision, live = self.named(name), self.live
        if revision and is_same_program(revision.template, self.template):
            return True
        return live is not None and live.name == name

    @property
    def live(self) -> Revision | None:
        """The revision of the live template; None while it is not recorded."""
        if self.workload.ref.kind == ROLLOUT and self.is_observed:
            # A Rollout's template lacks the defaults in those of its ReplicaSets: compare hashes.
            return self._of_hash(status_of(self.workload.live).get("currentPodHash", ""))
        equal = [each for each in self.revisions if each.template == self.template]
        if equal:
            return equal[0]
        if self.workload.ref.kind in (DEPLOYMENT, ROLLOUT) or not self.is_observed:
            return None
        # A newer API server may add defaults that the recorded template lacks. The controllers of
        # StatefulSets and DaemonSets give the live revision the highest number.
        return self.revisions[0] if self.revisions else None

    def _of_hash(self, pod_hash: str) -> Revision | None:
        return next((each for each in self.revisions if each.name.endswith(f"-{pod_hash}")), None)


@dataclass(frozen=True, slots=True)
class _Pods:
    """The pods of a revision: how many are desired, exist, and are available."""

    number: int
    ordered: int
    there: int
    serving: int

    def health(self, last: int) -> Health:
        """`last` is the number of the last revision that was complete."""
        if self.there and not self.serving:
            return "broken"
        if self.number > last:
            return "unfinished"
        return "serving" if self.number == last and self.serving >= self.ordered else "unknown"


async def read(api: ClusterApi, workload: Workload, *, with_health: bool = False) -> History:
    """Read the history. `with_health` also lists the pods, for the health of the revisions.

    Raises:
        Denied: the template is in an object of a kind that has no history, or is being deleted.
    """
    holder = await template_holder(api, workload)
    if workload.ref.kind in (DEPLOYMENT, ROLLOUT):
        revisions = await _replica_sets(api, workload)
    else:
        revisions = await _controller_revisions(api, workload, with_health=with_health)
    revisions.sort(key=lambda each: each.number, reverse=True)
    return History(workload, holder, tuple(revisions))


async def template_holder(api: ClusterApi, workload: Workload) -> Workload:
    """The workload itself, or the Deployment that a Rollout's `workloadRef` names."""
    reference = spec_of(workload.live).get("workloadRef")
    if workload.ref.kind != ROLLOUT or not reference:
        return workload
    if reference.get("kind") != DEPLOYMENT.name:
        raise Denied(
            f"{workload.ref} has its template in a {reference.get('kind')}; it can be rolled back"
            " only with a template of its own or in a Deployment"
        )
    ref = Ref(DEPLOYMENT, workload.ref.namespace, reference["name"])
    live = await api.get(ref)
    check_stays(ref, live)
    return Workload(ref, live)


async def _replica_sets(api: ClusterApi, workload: Workload) -> list[Revision]:
    found = await api.list(REPLICA_SET, workload.ref.namespace, labels=selector(workload.live))
    annotation = argo.REVISION if workload.ref.kind == ROLLOUT else _REVISION
    ours = [
        each
        for each in found
        if is_controlled_by(each, workload.live) and _number(each, annotation)
    ]
    pods = {name_of(each): _replica_set_pods(each, annotation) for each in ours}
    last = _last_complete(pods, lambda name: argo.is_stable(workload.live, name))
    return [_of_replica_set(each, annotation, pods[name_of(each)].health(last)) for each in ours]


def _of_replica_set(found: Object, annotation: str, health: Health) -> Revision:
    template = argo.without_ephemeral(found, spec_of(found)["template"])
    return Revision(
        number=_number(found, annotation),
        name=name_of(found),
        template=plain(template),
        health=health,
        cause=annotations_of(found).get(CAUSE),
        earlier=_earlier(found, annotation),
    )


def _number(found: Object, annotation: str) -> int:
    text = annotations_of(found).get(annotation, "")
    return int(text) if text.isdecimal() else 0


def _earlier(found: Object, annotation: str) -> list[int]:
    """The numbers that its controller gave it before."""
    numbers = annotations_of(found).get(f"{annotation}-history", "").split(",")
    return [int(number) for number in numbers if number.isdecimal()]


def _replica_set_pods(found: Object, annotation: str) -> _Pods:
    """Its pods; one that is ready but not yet available doesn't count as broken."""
    status = status_of(found)
    return _Pods(
        number=_number(found, annotation),
        ordered=spec_of(found).get("replicas", 0),
        there=status.get("replicas", 0),
        serving=status.get("availableReplicas") or status.get("readyReplicas") or 0,
    )


async def _controller_revisions(
    api: ClusterApi, workload: Workload, *, with_health: bool
) -> list[Revision]:
    namespace, labels = workload.ref.namespace, selector(workload.live)
    found = await api.list(CONTROLLER_REVISION, namespace, labels=labels)
    pods = await api.list(POD, namespace, labels=labels) if with_health else []
    ours = [pod for pod in pods if is_controlled_by(pod, workload.live)]
    staying = [pod for pod in ours if not meta_of(pod).get("deletionTimestamp")]
    mine = [each for each in found if is_controlled_by(each, workload.live)]
    seen = {name_of(each): _revision_pods(each, staying) for each in mine}
    current = status_of(workload.live).get("currentRevision")  # of a StatefulSet
    last = _last_complete(seen, lambda name: name == current)
    return [
        Revision(
            number=each["revision"],
            name=name_of(each),
            template=plain(each["data"]["spec"]["template"]),
            health=seen[name_of(each)].health(last),
            cause=annotations_of(each).get(CAUSE),
        )
        for each in mine
    ]


def _revision_pods(revision: Object, pods: Sequence[Object]) -> _Pods:
    # A StatefulSet's pods are labelled with the whole name of their revision.
    pod_hash = labels_of(revision).get(REVISION_HASH) or name_of(revision)
    its = [pod for pod in pods if labels_of(pod).get(REVISION_HASH) == pod_hash]
    return _Pods(revision["revision"], len(its), len(its), sum(map(is_ready, its)))


def _last_complete(seen: Mapping[str, _Pods], is_recorded: Callable[[str], bool]) -> int:
    """The number of the last revision that was complete.

    It is the one recorded as such, or else the oldest one with pods: once a revision is complete,
    older ones have no pods left.
    """
    recorded = [pods.number for name, pods in seen.items() if is_recorded(name)]
    oldest = [pods.number for pods in seen.values() if pods.ordered]
    if recorded or oldest:
        return min(recorded or oldest)
    return max((pods.number for pods in seen.values()), default=0)
