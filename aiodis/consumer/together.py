"""Several calls at once, as if they were one."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

__all__ = ["together"]

T = TypeVar("T")


async def together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run the calls at once and give their results in order.

    The first failure ends the others and is raised as it is, not in a group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as group:
        first = group.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]
