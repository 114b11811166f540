"""Which permission each operation needs: reference, chapter 6.

IAM grants these actions to users; the embedded DIS asks for them too. Rows that the
chapter does not list have the action of the nearest one, which is *guessed*.
"""

from typing import Final

__all__ = ["ACTIONS"]

ACTIONS: Final[dict[str, str]] = {
    "streams.create": "dis:streams:create",
    "streams.list": "dis:streams:list",
    "streams.delete": "dis:streams:delete",
    "streams.describe": "dis:streams:get",
    "streams.scale": "dis:streams:update",  # guessed
    "streams.update": "dis:streams:update",
    "streams.update_v2": "dis:streams:update",
    "streams.scaling_log": "dis:streams:get",  # guessed
    "policies.create": "dis:streamPolicies:create",
    "policies.list": "dis:streamPolicies:list",
    "policies.delete": "dis:streamPolicies:delete",
    "apps.create": "dis:apps:create",
    "apps.list": "dis:apps:list",
    "apps.delete": "dis:apps:delete",
    "apps.describe": "dis:apps:get",
    "apps.describe_state": "dis:AppState:get",
    "checkpoints.commit": "dis:checkpoints:commit",
    "checkpoints.get": "dis:checkpoints:get",
    "checkpoints.delete": "dis:checkpoints:delete",
    "records.put": "dis:records:write",
    "records.get": "dis:records:read",
    "records.get_cursor": "dis:records:readCursor",
    "transfer_tasks.create": "dis:transferTasks:create",
    "transfer_tasks.list": "dis:transferTasks:list",
    "transfer_tasks.delete": "dis:transferTasks:delete",
    "transfer_tasks.describe": "dis:transferTasks:get",
    "transfer_tasks.start": "dis:transferTasks:update",  # guessed
    "transfer_tasks.pause": "dis:transferTasks:update",  # guessed
    "transfer_tasks.update": "dis:transferTasks:update",
    "metrics.of_stream": "dis:streams:get",  # guessed
    "metrics.of_partition": "dis:streams:get",  # guessed
    "tags.add": "dis:tagResources:create",
    "tags.list": "dis:tags:list",  # guessed
    "tags.delete": "dis:tagResources:delete",
    "tags.add_batch": "dis:tagResources:update",
    "tags.list_region": "dis:tags:list",
    "tags.find": "dis:tagResources:list",
    "tags.count": "dis:tagResources:list",
    "tags.delete_batch": "dis:tagResources:update",
    "quotas.get": "dis:streams:list",  # guessed: the chapter names no action, but roles
    "events.list": "dis:events:list",
    "events.list_types": "dis:events:list",  # guessed
    "events.list_subscriptions": "dis:eventEnumSubs:list",
    "events.create_subscription": "dis:eventEnumSubs:create",
    "events.update_subscription": "dis:eventEnumSubs:update",
    "events.delete_subscription": "dis:eventEnumSubs:delete",
    "groups.join": "dis:checkpoints:commit",  # guessed: members commit
    "groups.sync": "dis:checkpoints:commit",  # guessed
    "groups.heartbeat": "dis:checkpoints:commit",  # guessed
    "groups.leave": "dis:checkpoints:commit",  # guessed
}
"""The permission by the row's name."""
