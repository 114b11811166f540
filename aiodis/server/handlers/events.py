"""Events, and subscriptions to them, which are kept but lead to no notice (nobody is there)."""

from typing import Any

from msgspec.structs import asdict, replace

from aiodis.api.events import (
    CreateSubscription,
    DeleteSubscription,
    Event,
    EventList,
    EventType,
    EventTypeList,
    ListEvents,
    ListEventTypes,
    ListSubscriptions,
    Subscription,
    SubscriptionList,
    UpdateSubscription,
)
from aiodis.server import guesses
from aiodis.server.events import EVENT_TYPES
from aiodis.server.refusal import Refusal
from aiodis.server.state import State, new_id
from aiodis.server.storage.events import EventRow, SubscriptionRow
from aiodis.wire.message import Empty, Message

__all__ = ["EventHandlers"]


class EventHandlers:
    """One method a row of `aiodis.api.Events`."""

    def __init__(self, state: State) -> None:
        self._state, self._store = state, state.events.store

    def list(self, request: ListEvents, now_ms: int) -> EventList:  # noqa: ARG002
        events = [_event(row) for row in self._state.events.since(now_ms)]
        return EventList(count=len(events), events=events)

    def list_types(self, request: ListEventTypes, now_ms: int) -> EventTypeList:  # noqa: ARG002
        types = [EventType(**_type_fields(type_id)) for type_id in EVENT_TYPES]
        return EventTypeList(count=len(types), events=types)

    def list_subscriptions(
        self,
        request: ListSubscriptions,  # noqa: ARG002
        now_ms: int,  # noqa: ARG002
    ) -> SubscriptionList:
        found = [_subscription(row) for row in self._store.subscriptions()]
        quota = self._state.quotas.subscription
        return SubscriptionList(quota=quota, used=len(found), subscriptions=found)

    def create_subscription(self, request: CreateSubscription, now_ms: int) -> Empty:
        quota, kept = self._state.quotas.subscription, self._store.subscriptions()
        if self._state.limited and len(kept) >= quota:
            self._state.events.quota_insufficient(f"{quota} event subscriptions", now_ms)
            raise Refusal("DIS.4308", f"{quota} event subscriptions")
        row = SubscriptionRow(new_id(), request.name, request.topic_name)
        self._save(row, request)
        return Empty()

    def update_subscription(self, request: UpdateSubscription, now_ms: int) -> Empty:  # noqa: ARG002
        self._save(self._find(request.subscription_id), request)
        return Empty()

    def delete_subscription(self, request: DeleteSubscription, now_ms: int) -> Empty:  # noqa: ARG002
        self._store.remove_subscription(self._find(request.subscription_id).subscription_id)
        return Empty()

    def _find(self, subscription_id: str) -> SubscriptionRow:
        for row in self._store.subscriptions():
            if row.subscription_id == subscription_id:
                return row
        raise Refusal(guesses.NO_SUBSCRIPTION_CODE, subscription_id)

    def _save(self, row: SubscriptionRow, request: Message) -> None:
        """Write the row with what the request names, if that is there.

        What it does not name is not looked at: a stream of before may be gone since.
        """
        named = request.model_dump(exclude={"subscription_id"}, exclude_none=True)
        row = replace(row, **named)
        others = [
            r for r in self._store.subscriptions() if r.subscription_id != row.subscription_id
        ]
        if any(other.name == row.name for other in others):
            raise Refusal("DIS.4200", f"name: there is a subscription {row.name} already")
        for type_id in named.get("event_ids", ()):
            if type_id not in EVENT_TYPES:
                raise Refusal("DIS.4200", f"event_ids: {type_id} is none")
        for stream_id in named.get("stream_ids", ()):
            if self._state.peek(stream_id) is None:
                raise Refusal("DIS.4301", stream_id)
        is_stream = row.topic_type == 1 and "topic_name" in named
        if is_stream and self._state.peek(row.topic_name) is None:
            raise Refusal("DIS.4301", row.topic_name)
        self._store.save_subscription(row)


def _type_fields(type_id: str) -> dict[str, Any]:
    found = EVENT_TYPES[type_id]
    return {
        "type_id": type_id,
        "type_name": found.name,
        "severity": found.severity,
        "category": found.category,
    }


def _event(row: EventRow) -> Event:
    return Event(
        **_type_fields(row.type_id),
        id=row.event_id,
        description=row.description,
        occur_time=row.at_ms,
        source_name=row.source_name,
        source_id=row.source_id,
    )


def _subscription(row: SubscriptionRow) -> Subscription:
    fields = asdict(row)
    return Subscription(id=fields.pop("subscription_id"), **fields)
