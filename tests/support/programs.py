"""`aiodis serve` as a process of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

__all__ = ["ServerProcess", "free_port", "run_aiodis"]

PROJECT, ACCESS_KEY, SECRET_KEY = "p" * 32, "TESTKEY", "test-secret"

KEYS = ("--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY)


def free_port() -> int:
    """Find a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_aiodis(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "aiodis", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **env},
        check=False,
    )


class ServerProcess(contextlib.AbstractContextManager):
    """A server on one data folder and one port, to start, kill and start again."""

    def __init__(self, data: Path, *options: str, keys: tuple[str, ...] = KEYS) -> None:
        self.port = free_port()
        self.data, self.options, self.keys = data, options, keys
        self.process: subprocess.Popen | None = None
        self.said: list[str] = []

    @property
    def client_settings(self) -> dict:
        from aiodis import Credentials

        return {
            "endpoint": f"http://127.0.0.1:{self.port}",
            "project_id": PROJECT,
            "credentials": Credentials.static(ACCESS_KEY, SECRET_KEY),
        }

    def command(self) -> list[str]:
        """Give what is to run."""
        return [
            *(sys.executable, "-m", "aiodis", "serve", "--port", str(self.port)),
            *("--data", str(self.data), "--project-id", PROJECT),
            *(*self.keys, *self.options),
        ]

    def start(self) -> None:
        """Start, and return when it says that it is ready."""
        self.process = subprocess.Popen(
            self.command(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        for line in self.process.stdout:
            self.said.append(line.strip())
            if "listening on" in line:
                return
        raise AssertionError(f"the server did not start: {self.said}")

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it as an operator does; give its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        self.process.send_signal(number)
        self.said += [line.strip() for line in self.process.stdout]
        self.process.stdout.close()
        status = self.process.wait(20)
        self.process = None
        return status

    def __exit__(self, *_) -> None:
        if self.process is not None:
            self.kill()
