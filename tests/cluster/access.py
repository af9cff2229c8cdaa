"""Rights in a test's namespace: service accounts, Roles, and kubeconfigs that act as them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from uuid import uuid4

from tests.cluster.client import Cluster, Json
from tests.cluster.namespace import Namespace
from tests.waiting import until

RBAC = "rbac.authorization.k8s.io"
TOKEN_SECONDS = 3600


async def service_account(
    namespace: Namespace, rules: list[Json] | None = None, *, name: str = "remedy"
) -> str:
    """Make an account with exactly these rights; returns its name once they are in effect."""
    await namespace.create("serviceaccounts", name)
    if rules:
        await grant(namespace, name, rules)
    return name


async def grant(namespace: Namespace, account: str, rules: list[Json]) -> None:
    """Bind a new Role of these rules, and wait until the API server applies it."""
    role = f"{account}-{uuid4().hex[:6]}"
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace.name}
    reference = {"apiGroup": RBAC, "kind": "Role", "name": role}
    await namespace.create("roles", role, rules=rules)
    await namespace.create("rolebindings", role, subjects=[subject], roleRef=reference)
    await until_granted(namespace, account, rules)


async def until_granted(namespace: Namespace, account: str, rules: list[Json]) -> None:
    """Wait until the API server allows the account the last verb of each rule."""
    for rule in rules:
        resource, _, subresource = rule["resources"][-1].partition("/")
        names = rule.get("resourceNames", [""])

        async def is_granted(
            verb: str = rule["verbs"][-1],
            group: str = rule["apiGroups"][-1],
            resource: str = resource,
            subresource: str = subresource,
            object_name: str = names[-1],
        ) -> bool:
            return await may(
                namespace, account, verb, resource, group, subresource, object_name=object_name
            )

        await until(is_granted)


async def may(
    namespace: Namespace,
    account: str,
    verb: str,
    resource: str,
    group: str = "",
    subresource: str = "",
    *,
    object_name: str = "",
) -> bool:
    """Whether the API server would allow the account this in the namespace."""
    asked = {
        "namespace": namespace.name,
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "name": object_name,
    }
    user = f"system:serviceaccount:{namespace.name}:{account}"
    groups = ["system:authenticated", "system:serviceaccounts"]
    spec = {"resourceAttributes": asked, "user": user, "groups": groups}
    review = await namespace.create("localsubjectaccessreviews", "", spec=spec)
    return bool(review["status"]["allowed"])


async def rights(as_account: Cluster, namespace: str) -> set[str]:
    """What the account may do there, `patch deployments.apps/scale`, as the API server lists it.

    Rights bound to names end with these: `get secrets (unleash)`.
    """
    asked = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    review = await as_account.create(path, {**asked, "spec": {"namespace": namespace}})
    return {right for rule in review["status"]["resourceRules"] for right in _each(rule)}


def _each(rule: Json) -> Iterator[str]:
    names = f" ({', '.join(rule['resourceNames'])})" if rule.get("resourceNames") else ""
    for verb, group, full in product(rule["verbs"], rule["apiGroups"], rule["resources"]):
        resource, slash, subresource = full.partition("/")
        where = f"{resource}.{group}" if group else resource
        yield f"{verb} {where}{slash}{subresource}{names}"


async def kubeconfig_of(
    namespace: Namespace, account: str, folder: Path, *, server: str | None = None
) -> Path:
    """A kubeconfig in the folder whose bearer is the service account."""
    path = namespace.path("serviceaccounts", account, "token")
    version = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
    asked = {**version, "spec": {"expirationSeconds": TOKEN_SECONDS}}
    token = (await namespace.cluster.create(path, asked))["status"]["token"]
    target = folder / f"{account}.kubeconfig"
    return namespace.cluster.write_kubeconfig(target, token=token, server=server)
