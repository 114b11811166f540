"""What several test modules share."""

import asyncio
import sys
from pathlib import Path

# A script of answers, and `benchmarks`, are importable from wherever a test lies.
sys.path.insert(0, str(Path(__file__).parent / "support"))
sys.path.insert(0, str(Path(__file__).parent.parent))

# On Python 3.11 looptime's plugin asks for "the" loop in sync tests too; unless somebody has
# set one, or none, asyncio makes one then that nobody closes.
asyncio.set_event_loop(None)
