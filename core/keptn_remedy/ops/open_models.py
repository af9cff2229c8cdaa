"""The API's JSON of what is still open: ids to choose from, what waits, reports that are owed."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field

from keptn_remedy import journal
from keptn_remedy.ops import models


class Ids(BaseModel):
    """Ids of executions."""

    ids: list[str]


class Asking(BaseModel):
    """An execution that waits for approval."""

    id: str
    until: datetime
    default: Literal["deny", "approve"] = Field(description="The verdict once nobody answered.")


class First(BaseModel):
    """The execution at the head of a project, stage and service; later ones wait behind it."""

    project: str
    stage: str
    service: str
    id: str


class Waiting(BaseModel):
    """What open executions wait for."""

    asking: list[Asking]
    first: list[First]

    @classmethod
    def of(cls, waiting: journal.Waiting) -> Waiting:
        return cls(
            asking=[
                Asking(id=name, until=datetime.fromtimestamp(until, UTC), default=default)
                for name, (until, default) in waiting.asking.items()
            ],
            first=[
                First(project=project, stage=stage, service=service, id=name)
                for (project, stage, service), name in waiting.first.items()
            ],
        )


class OwedReport(models.Report):
    """A report that Keptn has not acknowledged, with whom it is about."""

    handle: int = Field(description="Its number, which `POST /api/reports/resend` answers.")
    execution: str | None
    created_at: datetime
    is_blocked: bool = Field(description="The way to Keptn refused it, not Keptn.")

    @classmethod
    def of(cls, report: journal.OwedReport) -> OwedReport:
        return cls.model_validate(asdict(report))


class Reports(BaseModel):
    """Reports that Keptn has not acknowledged, parked ones first."""

    reports: list[OwedReport]


class Resent(BaseModel):
    """The reports that are sent again."""

    handles: list[int]


class Resumed(BaseModel):
    """On how many targets earlier failures no longer count."""

    targets: int
