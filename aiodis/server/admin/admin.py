"""What the admin routes act on: one server, and the faults that were made through them."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiodis.server.fault import Fault
from aiodis.server.projects import Projects

if TYPE_CHECKING:
    from aiodis.server.local import LocalDIS

__all__ = ["Admin"]

_REMEMBERED: Final = 10_000


@dataclass(slots=True)
class Admin:
    """One server as its side door sees it. Outlasts the server's restarts, as its faults do."""

    server: "LocalDIS"
    projects: Projects | None = None
    """None while the server does not run."""
    connections: Callable[[], int] = int
    """Tells how many are open."""
    _made: OrderedDict[int, Fault] = field(default_factory=OrderedDict)
    _scopes: dict[str, list[Fault]] = field(default_factory=dict)

    @property
    def now_ms(self) -> int:
        """The time by the server's clock."""
        return self.server.clock.now_ms()

    def keep(self, fault: Fault, scope: str | None) -> None:
        """Remember a fault by its number, and by its scope."""
        self._made[fault.number] = fault
        while len(self._made) > _REMEMBERED:
            self._made.popitem(last=False)
        if scope is not None:
            self._scopes.setdefault(scope, []).append(fault)

    def fault(self, number: int) -> Fault | None:
        """Give a fault by its number, also one that is used up if it was made here."""
        faults = self.server.faults
        return self._made.get(number) or next((f for f in faults if f.number == number), None)

    def end_scope(self, scope: str) -> Sequence[Fault]:
        """Forget a scope, and give its faults."""
        return self._scopes.pop(scope, ())
