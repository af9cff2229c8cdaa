"""Responses of Keptn's API: the parts that we read."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AliasChoices,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

MOST_SAID = 200

T = TypeVar("T")


def _empty_for_null(value: Any) -> Any:
    # Go writes an empty list, and an absent struct, as null.
    return () if value is None else value


class _Answer(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)


class TaskEvent(_Answer):
    """A `started` or `finished` that Keptn counted."""

    type: str = Field(default="", alias="eventType")
    source: str = ""


class Task(_Answer):
    """A task of a sequence; an empty id means that there is none."""

    name: str = ""
    triggered_id: str = Field(default="", alias="triggeredID")
    events: Annotated[tuple[TaskEvent, ...], BeforeValidator(_empty_for_null)] = ()


class Status(_Answer):
    """The state of a sequence, its tasks so far, and the current one."""

    state: str = ""
    previous: Annotated[tuple[Task, ...], BeforeValidator(_empty_for_null)] = Field(
        default=(), alias="previousTasks"
    )
    current: Annotated[Task, BeforeValidator(lambda task: task or {})] = Field(
        default=Task(), alias="currentTask"
    )


class Sequence(_Answer):
    """A sequence execution."""

    status: Annotated[Status, BeforeValidator(lambda status: status or {})] = Status()


class Page(_Answer, Generic[T]):
    """One page of a list. A response without the list comes from something else, such as a proxy,
    and doesn't validate.
    """

    next: Annotated[str, BeforeValidator(lambda key: key or "")] = Field(
        default="", alias="nextPageKey"
    )
    items: tuple[T, ...]

    @property
    def is_last(self) -> bool:
        return self.next in ("", "0")


class Sequences(Page[Sequence]):
    """A page of `sequence-execution`."""

    # In some releases the Go field has no JSON tag and appears under its own name.
    items: Annotated[tuple[Sequence, ...], BeforeValidator(_empty_for_null)] = Field(
        validation_alias=AliasChoices("sequenceExecutions", "SequenceExecutions")
    )


class OpenTriggers(Page[dict[str, Any]]):
    """A page of the list of open triggers: events in Keptn's own JSON model."""

    items: Annotated[tuple[dict[str, Any], ...], BeforeValidator(_empty_for_null)] = Field(
        alias="events"
    )
    total: int = Field(default=0, alias="totalCount")


class Services(Page[Any]):
    """A page of the services of a stage. Go leaves the total out where it is 0."""

    items: Annotated[tuple[Any, ...], BeforeValidator(_empty_for_null)] = Field(alias="services")
    total: int = Field(default=0, alias="totalCount")


class Resource(_Answer):
    """A file of a project."""

    content: Base64Bytes = Field(alias="resourceContent")


class ListedResource(_Answer):
    """A file in a list, without its content."""

    uri: str = Field(alias="resourceURI")


class ListedResources(Page[ListedResource]):
    """A page of the files of a service."""

    items: Annotated[tuple[ListedResource, ...], BeforeValidator(_empty_for_null)] = Field(
        alias="resources"
    )


_Names = Annotated[tuple[str, ...], BeforeValidator(_empty_for_null)]


class Filter(_Answer):
    """Whose events a subscription lets through; an empty list lets all through."""

    projects: _Names = ()
    stages: _Names = ()
    services: _Names = ()


class Subscription(_Answer):
    """A subscription of an integration; `event` may hold wildcards."""

    event: str
    filter: Annotated[Filter, BeforeValidator(lambda found: found or {})] = Filter()


class Integration(_Answer):
    """An integration of the uniform. Go writes its subscriptions even if there are none."""

    subscriptions: Annotated[tuple[Subscription, ...], BeforeValidator(_empty_for_null)]


class Registered(_Answer):
    """The answer to a registration."""

    id: str = Field(min_length=1)


class ErrorBody(_Answer):
    """An error of Keptn's own services; a gateway's isn't JSON."""

    message: str

    @property
    def said(self) -> str:
        """The message, cut to a length that a log line may have."""
        return self.message[:MOST_SAID]


def is_keptns_error(body: bytes) -> bool:
    """Whether a body is an error of Keptn's own services."""
    try:
        ErrorBody.model_validate_json(body)
    except ValidationError:
        return False
    return True
