"""A workload's history as the cluster keeps it: ReplicaSets or ControllerRevisions."""

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
    """A workload, the one that holds its template (itself, but for a Rollout's `workloadRef`),
    and its revisions, the newest first.
    """

    workload: Workload
    holder: Workload
    revisions: Sequence[Revision]

    @property
    def template(self) -> Object:
        return plain(spec_of(self.holder.live)["template"])

    @property
    def touched(self) -> Sequence[Workload]:
        """What a rollback concerns, each once."""
        return (self.workload,) if self.holder == self.workload else (self.workload, self.holder)

    @property
    def is_observed(self) -> bool:
        """Whether its controller has seen, and recorded, the live template."""
        if self.workload.ref.kind == ROLLOUT:
            return argo.is_observed(self.workload.live, self.holder.live)
        return is_observed(self.workload.live)

    def named(self, name: str) -> Revision | None:
        return next((each for each in self.revisions if each.name == name), None)

    def holds(self, name: str, *, instead_of: str) -> bool:
        """Whether this revision's program is live, or what became of it when we put it there."""
        revision = self.named(name)
        if revision is None or self.runs(name) or self.runs(instead_of):
            return self.runs(name)
        return self.is_written_by_us and contains(self.template, revision.template)

    def is_at(self, name: str) -> bool:
        """Whether this very revision is live: a restart makes another."""
        revision, live = self.named(name), self.live
        if revision and revision.template == self.template:
            return True
        return live is not None and live.name == name

    def grew_from(self, name: str) -> bool:
        """Whether this revision is live as we put it there, with what defaults and webhooks added;
        only for who put it there last.
        """
        revision = self.named(name)
        if revision is None or restarted_at(revision.template) != restarted_at(self.template):
            return False
        return self.is_written_by_us and contains(self.template, revision.template)

    @property
    def is_written_by_us(self) -> bool:
        """Whether we wrote to the template, and nobody did after us."""
        return wrote_last(self.holder.live, "/spec/template")

    def runs(self, name: str) -> bool:
        """Whether this revision's program is live, recorded as such already or not."""
        revision, live = self.named(name), self.live
        if revision and is_same_program(revision.template, self.template):
            return True
        return live is not None and live.name == name

    @property
    def live(self) -> Revision | None:
        """The revision of the live template; None if it is not recorded yet."""
        if self.workload.ref.kind == ROLLOUT and self.is_observed:
            # A Rollout's template lacks the defaults that its ReplicaSets' have.
            return self._of_hash(status_of(self.workload.live).get("currentPodHash", ""))
        equal = [each for each in self.revisions if each.template == self.template]
        if equal:
            return equal[0]
        if self.workload.ref.kind in (DEPLOYMENT, ROLLOUT) or not self.is_observed:
            return None
        # A newer API server may have defaults that the controller's record lacks; the controllers
        # of StatefulSets and DaemonSets give the live one the highest number.
        return self.revisions[0] if self.revisions else None

    def _of_hash(self, pod_hash: str) -> Revision | None:
        return next((each for each in self.revisions if each.name.endswith(f"-{pod_hash}")), None)


@dataclass(frozen=True, slots=True)
class _Pods:
    """Of a revision: how many it is to have, has, and how many of them serve."""

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
    """The history as it is now; who wants to know the revisions' health, has all pods listed.

    Raises:
        Denied: the template is in a kind of object that keeps none.
    """
    holder = await template_holder(api, workload)
    if workload.ref.kind in (DEPLOYMENT, ROLLOUT):
        revisions = await _replica_sets(api, workload)
    else:
        revisions = await _controller_revisions(api, workload, with_health=with_health)
    revisions.sort(key=lambda each: each.number, reverse=True)
    return History(workload, holder, tuple(revisions))


async def template_holder(api: ClusterApi, workload: Workload) -> Workload:
    """The workload itself, or what a Rollout's `workloadRef` names."""
    reference = spec_of(workload.live).get("workloadRef")
    if workload.ref.kind != ROLLOUT or not reference:
        return workload
    if reference.get("kind") != DEPLOYMENT.name:
        raise Denied(
            f"{workload.ref} takes its template from a {reference.get('kind')}; only from a"
            " Deployment, or in itself, it can be rolled back"
        )
    ref = Ref(DEPLOYMENT, workload.ref.namespace, reference["name"])
    return Workload(ref, await api.get(ref))


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
    )


def _number(found: Object, annotation: str) -> int:
    text = annotations_of(found).get(annotation, "")
    return int(text) if text.isdecimal() else 0


def _replica_set_pods(found: Object, annotation: str) -> _Pods:
    """One that is ready, but not for long, is not broken."""
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
    # A StatefulSet's pods have the whole name of their revision.
    pod_hash = labels_of(revision).get(REVISION_HASH) or name_of(revision)
    its = [pod for pod in pods if labels_of(pod).get(REVISION_HASH) == pod_hash]
    return _Pods(revision["revision"], len(its), len(its), sum(map(is_ready, its)))


def _last_complete(seen: Mapping[str, _Pods], is_recorded: Callable[[str], bool]) -> int:
    """The number of the last revision that was complete: the one that is recorded as such, or the
    oldest that has pods, for when one is complete the older ones have none left.
    """
    recorded = [pods.number for name, pods in seen.items() if is_recorded(name)]
    oldest = [pods.number for pods in seen.values() if pods.ordered]
    if recorded or oldest:
        return min(recorded or oldest)
    return max((pods.number for pods in seen.values()), default=0)
