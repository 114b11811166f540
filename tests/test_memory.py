"""What the heap keeps, seen by the pages that have to be mapped."""

import json
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="it is glibc's heap that is told"
)

PAGES = 10 * 1_400_000 // 4096
BURSTS = """
import json, resource, sys
from aiodis.memory import keep_freed_memory
for most in sys.argv[1:]:
    keep_freed_memory(int(most))
faults = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
for burst in range(4):
    blocks = [bytes([1]) * 1_400_000 for _ in range(10)]
    del blocks
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(json.dumps([after - before for before, after in zip(faults, faults[1:])]))
"""


def faults_of_bursts(*kept, **variables):
    """Let a process need 14 MB four times over; give the pages mapped each time."""
    done = subprocess.run(
        [sys.executable, "-c", BURSTS, *map(str, kept)],
        capture_output=True,
        check=True,
        env=variables,
        text=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("kept", [(32 << 20,), (32 << 20, 1 << 20)], ids=["once", "then less"])
def test_later_bursts_find_their_memory_mapped(kept):
    first, *later = faults_of_bursts(*kept)
    assert first > PAGES // 2
    assert max(later) < PAGES // 20


def test_what_is_free_beyond_that_is_given_back():
    assert min(faults_of_bursts(4 << 20)) > PAGES // 4


def test_a_variable_of_the_users_holds():
    assert min(faults_of_bursts(32 << 20, MALLOC_TRIM_THRESHOLD_="100000")) > PAGES // 2
