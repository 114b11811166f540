"""Apps: what each operation of the reference's chapter 5.2 does."""

from typing import Final

from aiodis.api.apps import (
    App,
    AppList,
    ConsumerState,
    CreateApp,
    DeleteApp,
    DescribeApp,
    DescribeConsumerState,
    ListApps,
    PartitionState,
)
from aiodis.record import partition_name
from aiodis.server import guesses
from aiodis.server.handlers.streams import page_after
from aiodis.server.memberships import Memberships
from aiodis.server.refusal import Refusal
from aiodis.server.state import State, new_id
from aiodis.server.storage.catalog import AppRow
from aiodis.wire.message import Empty

__all__ = ["AppHandlers"]

_DEFAULT_APPS: Final = 10
_DEFAULT_PARTITIONS: Final = 100


class AppHandlers:
    """One method a row of `aiodis.api.Apps`."""

    def __init__(self, state: State, memberships: Memberships) -> None:
        self._state, self._memberships = state, memberships

    def create(self, request: CreateApp, now_ms: int) -> Empty:
        catalog = self._state.catalog
        if catalog.app(request.app_name):
            raise Refusal("DIS.4330", request.app_name)
        quota = self._state.quotas.app
        if self._state.limited and len(catalog.apps()) >= quota:
            self._state.events.quota_insufficient(f"{quota} apps", now_ms)
            raise Refusal("DIS.4329", f"{quota} apps")
        catalog.add_app(AppRow(request.app_name, new_id(), now_ms))
        return Empty()

    def delete(self, request: DeleteApp, now_ms: int) -> Empty:
        self._state.app(request.app_name)
        self._memberships.forget(request.app_name, now_ms)
        self._state.catalog.remove_app(request.app_name)
        return Empty()

    def describe(self, request: DescribeApp, now_ms: int) -> App:  # noqa: ARG002
        return self._shown(self._state.app(request.app_name))

    def describe_state(self, request: DescribeConsumerState, now_ms: int) -> ConsumerState:
        self._state.app(request.app_name)
        stream = self._state.find(request.stream_name, now_ms)
        readable = [n for n, p in enumerate(stream.row.partitions) if p.status != "EXPIRED"]
        page, has_more = page_after(
            readable, request.start_partition_id, request.limit or _DEFAULT_PARTITIONS
        )
        commits = self._state.catalog.checkpoints(request.app_name, stream.row.stream_id)
        return ConsumerState(
            stream_name=stream.row.stream_name,
            app_name=request.app_name,
            has_more=has_more,
            partition_consuming_states=[
                PartitionState(
                    partition_id=partition_name(number),
                    sequence_number=commits[number].sequence
                    if number in commits
                    else guesses.STATE_WITHOUT_COMMITS,
                    latest_offset=stream.log.next_sequence(number),
                    earliest_offset=stream.oldest(number, now_ms),
                    checkpoint_type=request.checkpoint_type,
                )
                for number in page
            ],
        )

    def list(self, request: ListApps, now_ms: int) -> AppList:
        stream_id = None
        if request.stream_name is not None:
            stream_id = self._state.find(request.stream_name, now_ms).row.stream_id
        apps = self._state.catalog.apps(stream_id)
        rest = [app for app in apps if app.app_name > (request.start_app_name or "")]
        page = rest[: request.limit or _DEFAULT_APPS]
        return AppList(
            has_more_app=len(page) < len(rest),
            apps=[self._shown(app) for app in page],
            total_number=len(apps),
        )

    def _shown(self, app: AppRow) -> App:
        return App(
            app_name=app.app_name,
            app_id=app.app_id,
            create_time=app.create_ms,
            commit_checkpoint_stream_names=self._state.catalog.streams_of_app(app.app_name),
        )
