"""Run programs in forks of an interpreter that has imported aiodis, which is most of their time.

As a program it is that interpreter: it reads a program's path, folder and output files as
a line of JSON, and says the exit status of its fork when that has ended.
"""

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["WarmInterpreter"]

TIMEOUT_S = 60


class WarmInterpreter(contextlib.AbstractContextManager):
    """Made with the options of Python, the environment, and the modules to import."""

    def __init__(
        self, options: Sequence[str], env: Mapping[str, str], modules: Sequence[str]
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *options, __file__, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )

    def run(self, program: Path) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, in its own folder."""
        out, err = program.with_suffix(".out"), program.with_suffix(".err")
        print(json.dumps([str(program), str(out), str(err)]), file=self._process.stdin, flush=True)
        status = self._process.stdout.readline()
        assert status, "the interpreter has ended"
        said = [path.read_text(encoding="utf-8") for path in (out, err)]
        return subprocess.CompletedProcess(program, int(status), *said)

    def __exit__(self, *_) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


def main(modules: Sequence[str]) -> None:
    for module in modules:
        __import__(module)
    while line := sys.stdin.readline():
        program, out, err = map(Path, json.loads(line))
        child = os.fork()
        if not child:
            signal.alarm(TIMEOUT_S)
            for number, path in enumerate((Path(os.devnull), out, err)):
                mode = os.O_RDWR | os.O_CREAT
                os.dup2(os.open(path, mode), number)
            os.chdir(program.parent)
            sys.argv = [str(program)]
            runpy.run_path(str(program), run_name="__main__")
            return  # the interpreter ends as any does, and warns of what was left open
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
