"""An entry point as a command: its options and help, errors, signals and exit codes."""

import inspect
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any, NoReturn, get_type_hints

import typer
from rich.console import Console

# Typer carries its own copy of Click and exports only some of its exceptions.
from typer._click.exceptions import ClickException

from pipeline.base import (
    DivergenceError,
    InputError,
    RunDeletedError,
    StepsFailedError,
    TrackingUnavailableError,
    disks,
    environment,
    hide_passwords,
    layout,
    output,
    progress,
    signals,
)
from pipeline.nights import hook
from pipeline.parameters import PANELS, REQUIRED, Parameters
from pipeline.parameters.generated import plain
from pipeline.tracking import outages
from pipeline.training import runtime

# Here, since the modules that an entry point imports after this one read the environment.
environment.configure()
runtime.configure()

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_TERMINATED = 1, 2, 128 + signal.SIGTERM
LONGEST_MESSAGE = 4000  # characters


def run(entry_point: Callable[[Any], Any], *, is_told: bool = False) -> NoReturn:
    """Run an entry point, a function of its parameters, as a command and exit.

    Exit codes: 0 done; 1 a step failed; 2 bad input; 129 the terminal is gone; 130 Ctrl-C; 143
    SIGTERM; another one is what an entry point that ended well has returned. The run that `mlflow
    run` opened for this process gets the same end, and the reason as a tag.

    Args:
        entry_point: what to run.
        is_told: whether people are told of its failure by the hook; not where a person has ended
            it at a terminal.
    """
    hook.take()
    output.never_fails()
    signals.interrupt_on_signals(lambda: outages.set_waiting(False))
    failed = None
    try:
        asked = _parse(entry_point)
        if asked is not None:
            runtime.refuse_other_settings()
            environment.refuse_unreadable()
            if is_told:
                hook.refuse_unusable()
        with progress.display():
            result = 0 if asked is None else entry_point(asked)
        code = result if isinstance(result, int) else 0
        if code:
            _end("FINISHED")
            _keep("FINISHED")
    except Exception as error:
        code, failed = _fail(error)
    except KeyboardInterrupt as interrupt:
        code = signals.exit_code(interrupt)
        failed = "It was ended by SIGTERM." if code == EXIT_TERMINATED else None
        _end("KILLED", "interrupted")
        _keep("KILLED")
    if failed is not None and is_told:
        hook.tell_failure(code, shown(failed))
    sys.exit(code)


def _parse(entry_point: Callable[[Any], Any]) -> Parameters | None:
    """The parameters given on the command line, or None where it asked for help only."""
    (parameters,) = (of for name, of in get_type_hints(entry_point).items() if name != "return")
    fields, options = {}, []
    panels = [*PANELS, *(parameters.panel(of[0]) for of in parameters.options())]
    by_panel = sorted(parameters.options(), key=lambda of: panels.index(parameters.panel(of[0])))
    for field, name, default, declared in by_panel:
        fields[name] = field
        panel, kind = parameters.panel(field), declared.metavar
        option = typer.Option(help=declared.help, rich_help_panel=panel, metavar=kind)
        asked = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)
        asked = asked.replace(annotation=Annotated[str, option])  # `Parameter` reads and refuses it
        options.append(asked if default is REQUIRED else asked.replace(default=plain(default)))

    # Typer only parses: an entry point that it called could not tell SIGTERM from Ctrl-C.
    def parsed(**given: Any) -> Parameters:
        return parameters(**{fields[name]: value for name, value in given.items()})

    parsed.__doc__ = layout.help_text(entry_point.__doc__)
    parsed.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(parsed)
    read = app(standalone_mode=False)
    return read if isinstance(read, Parameters) else None


def _fail(error: Exception) -> tuple[int, str]:
    """Say what went wrong, to a person and on the run; the exit code and the message."""
    code, message = EXIT_FAILED, str(error)
    match error:
        case ClickException():
            code, message = EXIT_BAD_INPUT, error.format_message()
        case InputError():
            code = EXIT_BAD_INPUT
        case DivergenceError():
            message = f"Diverged: {error}"
        case StepsFailedError() | TrackingUnavailableError() | RunDeletedError():
            pass
        case _ if said := disks.failure(error):
            message = f"{said}. Mend that and give the same command again: what is kept is used."
        case _:  # a defect
            sys.stderr.write(hide_passwords(traceback.format_exc()))
            message = f"{type(error).__name__}: {error}"
            _end("FAILED", message)
            return code, message
    _print_error(message)
    _end("FAILED", message)
    return code, message


def _print_error(message: str) -> None:
    console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
    console.print(f"Error: {shown(message)}", style="bold red", markup=False)


def _end(status: str, reason: str = "") -> None:
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return
    from pipeline.tracking import runs

    try:
        with outages.not_waiting():
            runs.end_if_running(run_id, status, reason=shown(reason))
    except (InputError, TrackingUnavailableError, RunDeletedError):
        pass  # the command has met with it as well, and the next one ends the run
    except Exception as error:  # what the command itself came to must not be lost over this
        _print_error(f"the run could not be ended as {status} ({type(error).__name__}: {error})")


def shown(message: str) -> str:
    """A message as it may be shown: on one line, not endless, without passwords.

    Messages repeat what was given, and a path or a class name can hold anything: sequences that a
    terminal obeys, bytes that are no text, thousands of characters.
    """
    text = output.printable(hide_passwords(message))
    cut = len(text) - LONGEST_MESSAGE
    return text if cut <= 0 else f"{text[:LONGEST_MESSAGE]}... ({cut} more characters)"


def _keep(status: str) -> None:
    """Leave a process behind that outlives `mlflow run`, which would mark the run FAILED."""
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        script = f"from pipeline.tracking import runs; runs.keep({run_id!r}, {status!r})"
        command, none = [sys.executable, "-c", script], subprocess.DEVNULL
        subprocess.Popen(command, stdin=none, stdout=none, stderr=none, start_new_session=True)
