"""An entry point as a command: its options and help, errors, signals and exit codes."""

import errno
import inspect
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any, NoReturn, get_type_hints

import typer
from rich.console import Console

# Typer carries its own copy of Click and exports only some of its exceptions.
from typer._click.exceptions import ClickException

from pipeline.base import (
    DivergenceError,
    InputError,
    StepsFailedError,
    TrackingUnavailableError,
    environment,
    hide_passwords,
    progress,
)
from pipeline.parameters import Parameters
from pipeline.parameters.parameter import REQUIRED
from pipeline.tracking import patience

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

LONGEST_MESSAGE = 4000  # characters
_DISK_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
)


def run(entry_point: Callable[[Any], Any]) -> NoReturn:
    """Run an entry point, a function of its parameters, as a command and exit.

    Exit codes: 0 done; 1 a step failed; 2 bad input; 130 Ctrl-C; 143 SIGTERM. The run that
    `mlflow run` opened for this process gets the same end, and the reason as a tag.
    """
    environment.configure()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        asked = _parse(entry_point)
        with progress.display():
            result = 0 if asked is None else entry_point(asked)
        code = result if isinstance(result, int) else 0
    except ClickException as error:
        code = _refuse(f"{error.format_message()}{_received(error)}")
    except InputError as error:
        code = _refuse(str(error))
    except DivergenceError as error:
        code = _fail(f"Diverged: {error}")
    except (StepsFailedError, TrackingUnavailableError) as error:
        code = _fail(str(error))
    except KeyboardInterrupt as interrupt:
        code = EXIT_TERMINATED if isinstance(interrupt, _Terminated) else EXIT_INTERRUPTED
        _end("KILLED", "interrupted")
        _keep_killed()
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            code = _report_defect(error)
        else:
            code = _fail(
                f"{error}. Mend that and give the same command again: what is kept is used."
            )
    except Exception as error:
        code = _report_defect(error)
    sys.exit(code)


def _parse(entry_point: Callable[[Any], Any]) -> Parameters | None:
    """The parameters given on the command line, or None where it asked for help only."""
    (parameters,) = (of for name, of in get_type_hints(entry_point).items() if name != "return")
    fields = {name: field for field, name, _, _ in parameters.options()}

    # Typer only parses: an entry point that it called could not tell SIGTERM from Ctrl-C.
    def parsed(**given: Any) -> Parameters:
        return parameters(**{fields[name]: value for name, value in given.items()})

    parsed.__doc__ = entry_point.__doc__
    parsed.__signature__ = inspect.Signature(_options(parameters))  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(parsed)
    read = app(standalone_mode=False)
    return read if isinstance(read, Parameters) else None


def _options(parameters: type[Parameters]) -> list[inspect.Parameter]:
    """The parameters of an entry point as Typer takes them, in panels by their groups."""
    options = []
    for field, name, default, declared in parameters.options():
        group = next(one for one in parameters.__mro__ if field in inspect.get_annotations(one))
        bounded = declared.plain is int
        option = typer.Option(
            help=declared.help,
            rich_help_panel=(group.__doc__ or "").rstrip("."),
            min=declared.least if bounded else None,
            max=declared.most if bounded else None,
        )
        options.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if default is REQUIRED else default,
                annotation=Annotated[declared.plain, option],
            )
        )
    return options


def _received(error: ClickException) -> str:
    """The value that an option was given on the command line, which Typer leaves unsaid."""
    options = getattr(getattr(error, "param", None), "opts", ())
    given = [value for option, value in pairwise(sys.argv) if option in options]
    return f"; received {given[-1]!r}." if given else ""


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which is to end a run as Ctrl-C does."""


def _interrupt(received: int, _frame: object) -> NoReturn:
    # `mlflow run` answers Ctrl-C with a SIGTERM of its own: it must not cut short what the first
    # signal set off, the ending of workers and runs.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    patience.set_waiting(False)
    raise _Terminated if received == signal.SIGTERM else KeyboardInterrupt


def _refuse(message: str) -> int:
    _print_error(message)
    _end("FAILED", message)
    return EXIT_BAD_INPUT


def _fail(message: str) -> int:
    _print_error(message)
    _end("FAILED", message)
    return EXIT_FAILED


def _report_defect(error: Exception) -> int:
    sys.stderr.write(hide_passwords(traceback.format_exc()))
    _end("FAILED", f"{type(error).__name__}: {error}")
    return EXIT_FAILED


def _print_error(message: str) -> None:
    Console(stderr=True, highlight=False, emoji=False, soft_wrap=True).print(
        f"Error: {shown(message)}", style="bold red", markup=False
    )


def _end(status: str, reason: str) -> None:
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return
    from pipeline.tracking import client

    try:
        with patience.not_waiting():
            client.end_if_running(run_id, status, reason=shown(reason))
    except Exception as error:  # what the command itself came to must not be lost over this
        _print_error(f"the run could not be ended as {status} ({type(error).__name__}: {error})")


def shown(message: str) -> str:
    """A message as it may be shown: on one line, not endless, without passwords.

    Messages repeat what was given, and a path or a class name can hold anything: sequences that a
    terminal obeys, bytes that are no text, thousands of characters.
    """
    text = "".join(
        character if character.isprintable() else repr(character)[1:-1]
        for character in hide_passwords(message)
    )
    cut = len(text) - LONGEST_MESSAGE
    return text if cut <= 0 else f"{text[:LONGEST_MESSAGE]}... ({cut} more characters)"


def _keep_killed() -> None:
    """Leave a process behind that outlives `mlflow run`, which would mark the run FAILED."""
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        script = f"from pipeline.tracking import client; client.keep_killed({run_id!r})"
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
