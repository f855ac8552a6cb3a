"""How a failure reaches a person: one line on standard error, and an exit code."""

import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from qsr.errors import QsrError
from qsr.quiet import restore_stderr

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal."""

TERMINATED = 143
"""Exit code after a plain ``kill``: 128 and SIGTERM's number."""

NOBODY_READS = 141
"""Exit code when whoever read the output has left, as ``head`` does: 128 and SIGPIPE's number."""


_GIVE_VERDICTS = ("check",)
"""Commands that exit with 1 to say that a model failed: if they fail themselves, they exit with 2,
so that a script can tell the one from the other."""


@contextmanager
def one_line_failures(words: Sequence[str]) -> Iterator[None]:
    """Turn what is raised inside into one line and an exit code.

    A plain ``kill`` (SIGTERM) ends the command as Ctrl-C does: worker processes are ended too. What
    a command that gives a verdict cannot do is 2, as 1 is the verdict.

    Args:
        words: the command line, without ``qsr``; shown after Ctrl-C.

    Raises:
        SystemExit: in place of any other exception.
    """
    failed = 2 if words and words[0] in _GIVE_VERDICTS else 1
    go_on = f"To go on: {shlex.join(['qsr', *words])}"
    try:
        with _sigterm_raised():
            yield
    except QsrError as error:
        _fail(str(error), max(error.exit_code, failed))
    except KeyboardInterrupt:
        _fail(f"stopped. {go_on}", INTERRUPTED)
    except _Terminated:
        _fail(f"terminated. {go_on}", TERMINATED)
    except BrokenPipeError:
        sys.exit(NOBODY_READS)
    except MemoryError:
        _fail("out of memory; use fewer --workers or smaller images", failed)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", failed)
    except Exception as error:  # noqa: BLE001 (--debug lets it through)
        if (code := getattr(error, "exit_code", None)) is not None:  # typer's: the line is wrong
            _fail(_said_by_typer(error), code)
        _fail(
            f"unexpected {type(error).__name__}: {error} (a fault of qsr; --debug shows where it "
            "comes from)",
            failed,
        )


class _Terminated(BaseException):
    """SIGTERM came; no Exception, so that nothing takes it for a failure of its own."""


@contextmanager
def _sigterm_raised() -> Iterator[None]:
    """Raise SIGTERM as :class:`_Terminated`, once, unless the caller has it ignored or handled."""

    def handle(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # who asks again does not want to wait
        raise _Terminated

    usual = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _said_by_typer(error: Exception) -> str:
    """Return what typer has to say of a command line, and where to look."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "qsr"
    return f"{message.replace('Value error, ', '').rstrip('.')} (see {command} --help)"


def _fail(message: str, code: int) -> NoReturn:
    """Print one line and leave."""
    restore_stderr()
    sys.stderr.write(f"qsr: {' '.join(message.split())}\n")
    sys.exit(code)
