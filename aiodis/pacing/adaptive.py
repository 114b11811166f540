"""A share of a limit that several producers divide among themselves. Plain code.

Nobody tells a producer how many others write to its partition; it learns from
DIS.4303. Additive increase, multiplicative decrease: whoever has more loses more
by a cut, and all gain alike, so the shares move towards each other.
"""

from typing import Final

__all__ = ["Share"]

# The service's bucket holds about a second's worth, which evens out the saw's teeth: small
# steps lose no throughput, and a slow climb keeps the throttled records few.
# Measured (tests/flows/test_shared_partition.py): with three producers 3 % of the records are
# throttled, at twice this gain 7 %; at two thirds of it 2 %, but who is left alone takes 50 s to
# have all. Cutting deeper throttles fewer, but leaves shares uneven for longer.
_GAIN_PER_S: Final = 0.015
_CUT: Final = 0.8
_LEAST: Final = 0.02
# What was on its way before a cut is throttled too; it must not cut again.
_CUT_EVERY_S: Final = 0.3


class Share:
    """The part of a partition's rate to use now, from almost nothing to 1.

    Invariant: `_LEAST` <= value <= 1.
    """

    def __init__(self) -> None:
        self._value = 1.0
        self._since = 0.0
        self._cut_at = float("-inf")

    def at(self, now: float) -> float:
        """Give the share now; it has grown since it was last asked for."""
        if self._value < 1.0:
            self._value = min(1.0, self._value + _GAIN_PER_S * (now - self._since))
        self._since = now
        return self._value

    def throttled(self, now: float) -> None:
        """Take in that the service refused records."""
        if now - self._cut_at >= _CUT_EVERY_S:
            self._value = max(_LEAST, self.at(now) * _CUT)
            self._cut_at = now
