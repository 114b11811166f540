"""Events of the service and subscriptions to them. Only the vendor's newer pages have these."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from aiodis.api.shared import as_list
from aiodis.wire.message import Deletion, Empty, LenientInt, Message, Reply, name_of, spelled
from aiodis.wire.operation import Operation, Resource

__all__ = [
    "CreateSubscription",
    "DeleteSubscription",
    "Event",
    "EventList",
    "EventType",
    "EventTypeList",
    "Events",
    "ListEventTypes",
    "ListEvents",
    "ListSubscriptions",
    "Subscription",
    "SubscriptionList",
    "UpdateSubscription",
]


def _split(value: object) -> object:
    # An example of the vendor has the ids as lines of one text, under a third name.
    return re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else value


EventTypeId = Annotated[str, StringConstraints(pattern=r"^dis_event\.[0-9]{3}$")]
_EventTypeIds = Annotated[list[EventTypeId], BeforeValidator(_split)]
_StreamIds = Annotated[list[str], BeforeValidator(_split)]
SubscriptionName = Annotated[str, name_of(64)]


class ListEvents(Message):
    """Parameters of `events.list`. There are none."""


class ListEventTypes(Message):
    """Parameters of `events.list_types`. There are none."""


class ListSubscriptions(Message):
    """Parameters of `events.list_subscriptions`. There are none."""


class CreateSubscription(Message):
    """Parameters of `events.create_subscription`.

    `topic_name` is a topic of the message service (`topic_type` 0) or a stream (1).
    Without `event_ids` all types of events count, without `stream_ids` all streams.
    """

    name: SubscriptionName
    topic_name: Annotated[str, Field(min_length=1)]
    topic_type: Literal[0, 1] | None = None
    topic_urn: str | None = None
    enable: bool | None = None
    event_ids: Annotated[_EventTypeIds | None, spelled("event_ids", "events_ids")] = None
    stream_ids: Annotated[_StreamIds | None, spelled("event_streamids", "stream_ids")] = None


class UpdateSubscription(Message):
    """Parameters of `events.update_subscription`; what is None stays as it is."""

    subscription_id: Annotated[str, name_of(64)]
    name: SubscriptionName | None = None
    topic_name: Annotated[str, Field(min_length=1)] | None = None
    topic_urn: str | None = None
    enable: bool | None = None
    event_ids: Annotated[_EventTypeIds | None, spelled("event_ids", "events_ids")] = None
    stream_ids: Annotated[_StreamIds | None, spelled("event_streamids", "stream_ids")] = None


class DeleteSubscription(Deletion):
    """Parameters of `events.delete_subscription`."""

    subscription_id: Annotated[str, name_of(64)]


class EventType(Reply):
    """A type of events.

    `severity` is 0 for what is normal, 1 for a warning; `category` 0 for the account, 1 for
    a stream, 2 for a dump task.
    """

    severity: LenientInt = 0
    category: LenientInt = 0
    type_name: str = ""
    type_id: str = ""


class EventTypeList(Reply):
    """The types of events that one can subscribe to."""

    count: LenientInt = 0
    events: list[EventType] = []


class Event(EventType):
    """Something that happened, at `occur_time` in milliseconds since the epoch."""

    id: str = ""
    description: str = ""
    occur_time: LenientInt = 0
    source_name: str = ""
    source_id: str = ""


class EventList(Reply):
    """The events of the last 15 days, 1,000 at most."""

    count: LenientInt = 0
    # The vendor's example has one event in the place of the list.
    events: Annotated[list[Event], BeforeValidator(as_list)] = []


class Subscription(Reply):
    """A subscription as it is kept."""

    id: str = ""
    name: str = ""
    enable: bool = False
    event_ids: Annotated[
        list[str], BeforeValidator(_split), spelled("event_ids", "events_ids")
    ] = []
    stream_ids: Annotated[
        list[str], BeforeValidator(_split), spelled("event_streamids", "stream_ids")
    ] = []
    topic_type: LenientInt = 0
    topic_name: str = ""
    topic_urn: str | None = None


class SubscriptionList(Reply):
    """The subscriptions, and how many there may be."""

    quota: LenientInt = 0
    used: LenientInt = 0
    subscriptions: Annotated[
        list[Subscription], spelled("eventSubscriptions", "subscriptions")
    ] = []


class Events(Resource):
    """What happened, and who is told."""

    list = Operation(
        "GET /v1/{project_id}/events", ListEvents, EventList, source="documented later"
    )
    list_types = Operation(
        "GET /v1/{project_id}/event-list", ListEventTypes, EventTypeList, source="documented later"
    )
    list_subscriptions = Operation(
        "GET /v1/{project_id}/event-subs",
        ListSubscriptions,
        SubscriptionList,
        source="documented later",
    )
    # The answer does not tell the new id: `list_subscriptions` does.
    create_subscription = Operation(
        "POST /v1/{project_id}/event-subs", CreateSubscription, Empty, source="documented later"
    )
    update_subscription = Operation(
        "PUT /v1/{project_id}/event-subs/{subscription_id}",
        UpdateSubscription,
        Empty,
        source="documented later",
    )
    delete_subscription = Operation(
        "DELETE /v1/{project_id}/event-subs/{subscription_id}",
        DeleteSubscription,
        Empty,
        status=204,
        source="documented later",
    )
