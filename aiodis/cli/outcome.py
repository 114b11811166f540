"""How a command ends: its exit code, and a line or two on stderr."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, NamedTuple

import typer

from aiodis import errors
from aiodis.errors import DISError

__all__ = ["EXIT_CODES", "INTERRUPTED", "Ending", "NotAllDoneError", "exit_code", "exit_of"]
__all__ += ["outcomes", "run", "say", "warn"]

_log = logging.getLogger("aiodis.cli")

REFUSED: Final = 1
WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
TERMINATED: Final = 143


class Ending(NamedTuple):
    """An exit code, what it means, and the errors that lead to it."""

    code: int
    meaning: str
    kinds: tuple[type[Exception], ...] = ()


EXIT_CODES: Final = (
    Ending(0, "Done."),
    Ending(1, "The service said no, or not all records were delivered.", (DISError,)),
    Ending(
        WRONG_USAGE,
        "Wrong usage or settings; nothing was sent.",
        (errors.ConfigError, errors.ParameterError),
    ),
    Ending(3, "No connection, or no answer in time.", (errors.TransportError,)),
    Ending(4, "What was named does not exist.", (errors.NotFoundError,)),
    Ending(5, "The credentials or the permission were refused.", (errors.AuthError,)),
    Ending(
        6,
        "The service is busy or failing: the same command may work later.",
        (errors.ThrottledError, errors.ServerError),
    ),
    Ending(INTERRUPTED, "Interrupted with Ctrl-C."),
    Ending(BROKEN_PIPE, "Whoever read the output has gone, such as `head`."),
    Ending(TERMINATED, "Ended by SIGTERM."),
)
"""Every way to end; of the kinds that fit an error, the last one counts."""


class NotAllDoneError(DISError):
    """A command did not reach what it was to do; its message says how far it came."""


def exit_code(error: DISError) -> int:
    """Choose the exit code of an error."""
    if isinstance(error, errors.CircuitOpenError) and error.refused:
        return 5
    fitting = [end.code for end in EXIT_CODES if isinstance(error, end.kinds)]
    return fitting[-1] if fitting else REFUSED


@contextlib.contextmanager
def outcomes(*, debug: bool) -> Iterator[None]:
    """Turn what a command raises into its exit code, and what it logs into lines.

    A user's mistake never shows a traceback, unless `debug` asks for it.
    """
    _log_to_stderr(debug=debug)
    try:
        yield
        sys.stdout.flush()
    except DISError as exc:
        _log.debug("it ended with", exc_info=exc)
        say(str(exc))
        raise typer.Exit(exit_code(exc)) from None
    except BrokenPipeError:
        _forget_stdout()
        raise typer.Exit(BROKEN_PIPE) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except OSError as exc:
        _log.debug("it ended with", exc_info=exc)
        say(f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc))
        raise typer.Exit(REFUSED) from None


def exit_of(command: Callable[[], object]) -> int:
    """Run the whole command line; give the exit code. Wrong usage is two lines on stderr."""
    try:
        result = command()
    except typer.Abort:
        say("aborted")
        return REFUSED
    except Exception as exc:
        # What typer raises for wrong usage has no public name in all of its versions.
        told = getattr(exc, "format_message", None)
        if told is None:
            raise
        _tell_usage(exc, told())
        return WRONG_USAGE
    return result if isinstance(result, int) else 0


def _tell_usage(error: Exception, message: str) -> None:
    path = getattr(getattr(error, "ctx", None), "command_path", "aiodis")
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(message + "\n")
        return
    say(" ".join(message.split()))
    say(f"try: {path} --help")


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a command's work. SIGTERM ends it as Ctrl-C does, with an exit code of its own."""
    terminated = False

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None

        def terminate() -> None:
            nonlocal terminated
            terminated = True
            task.cancel()

        with contextlib.suppress(NotImplementedError, RuntimeError):  # another system or thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        await work

    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        if not terminated:
            raise
        raise typer.Exit(TERMINATED) from None


def say(line: str) -> None:
    """Tell the user something beside the output."""
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"aiodis: {line}\n")


def warn(line: str) -> None:
    """Tell the user of something that should be changed."""
    say(f"warning: {line}")


def _log_to_stderr(*, debug: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("aiodis: %(message)s"))
    logger = logging.getLogger("aiodis")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)


def _forget_stdout() -> None:
    """Let nothing fail at the end, when Python writes what is left to a pipe without a reader."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
