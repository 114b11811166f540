"""The removal of logs that nobody reads any more, beside the rest of the program.

To free a file takes some disks 10 ms, which nobody should have to wait for. A process
that dies meanwhile leaves folders behind that the next start removes.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

from aiodis.server.storage.record_log import RecordLog

__all__ = ["Remover"]


class Remover:
    """Closes and removes logs in threads of its own. No one else may use those logs."""

    def __init__(self) -> None:
        self._threads: list[Thread] = []
        self._has_removed = False

    def remove(self, logs: Sequence[RecordLog], folders: Sequence[Path]) -> None:
        """Close logs and remove folders, soon."""
        if not folders:
            _remove(logs, folders)
            return
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = Thread(target=_remove, args=(logs, folders), name="aiodis-remover")
        thread.start()
        self._threads.append(thread)
        self._has_removed = True

    def wait(self) -> bool:
        """Wait until all is removed, and say whether there was anything since the last time."""
        while self._threads:
            self._threads.pop().join()
        had_any, self._has_removed = self._has_removed, False
        return had_any


def _remove(logs: Sequence[RecordLog], folders: Sequence[Path]) -> None:
    for log in logs:
        log.close()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
