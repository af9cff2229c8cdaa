"""Which events are ours: their type, and the projects, stages and services that they concern."""

from __future__ import annotations

from dataclasses import dataclass

from keptn_remedy.settings import KeptnSettings


@dataclass(frozen=True, slots=True)
class Filters:
    """Whose triggers are ours; the distributor has the same filters. An empty one passes all."""

    projects: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    @classmethod
    def of(cls, keptn: KeptnSettings) -> Filters:
        """The filters of the settings."""
        return cls(keptn.project_filter, keptn.stage_filter, keptn.service_filter)

    def let_pass(self, project: object, stage: object, service: object) -> bool:
        wanted = (self.projects, self.stages, self.services)
        found = (project, stage, service)
        return all(name in names for names, name in zip(wanted, found, strict=True) if names)

    @property
    def query(self) -> dict[str, str]:
        """What Keptn's list can be narrowed by: it takes one name of each."""
        wanted = {"project": self.projects, "stage": self.stages, "service": self.services}
        return {level: names[0] for level, names in wanted.items() if len(names) == 1}


@dataclass(frozen=True, slots=True)
class Subscription:
    """A type of event, without wildcards, and whose events of it are ours."""

    event_type: str
    filters: Filters = Filters()
