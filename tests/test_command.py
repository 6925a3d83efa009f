import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from importlib import import_module
from pathlib import Path

import mlflow
import pytest
from conftest import PROJECT, environment_of_a_user
from receivers import receiver
from step_runs import status_of

from pipeline import command
from pipeline.base import InputError
from pipeline.nights import hook
from pipeline.parameters import ENTRY_POINTS, PANELS, Parameters
from pipeline.parameters.generated import plain
from pipeline.parameters.parameter import REQUIRED, asked

PROGRAM = textwrap.dedent("""
    import errno
    import signal
    import time

    from pipeline import command
    from pipeline.base import DivergenceError, InputError, progress
    from pipeline.parameters.groups import OneVariant, Sampling

    class Asked(Sampling, OneVariant):
        pass

    def step(asked: Asked) -> int | str | None:
        variant, mc_samples = asked.variant, asked.mc_samples
        if variant == "bad":
            raise InputError("variant", expected="a [b]", received=":bug:", action="Try c.")
        if variant == "diverges":
            raise DivergenceError("loss inf in epoch 2")
        if variant == "fails":
            raise OSError("no answer from " + "http://user:hunter" + "2@host")
        if variant == "full":
            raise OSError(errno.ENOSPC, "No space left on device", "checkpoints/epoch-000001.npz")
        if variant == "waits":
            progress.update(message="waiting")
            time.sleep(60)
        progress.update(message=f"{variant} {mc_samples!r}")
        return {"returns_text": "an id", "returns_3": 3}.get(variant)

    # A shell that starts a job in the background lets it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command.run(step)
""")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command of a small entry point."""
    (tmp_path / "step.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(Path(command.__file__).parents[1]))
    monkeypatch.setenv("TERMINAL_WIDTH", "200")  # help on unbroken lines
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return [sys.executable, str(tmp_path / "step.py")]


def run_program(program: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "code", "stdout", "stderr"),
    [
        (["--variant", "elu"], 0, "elu 100\n", ""),
        (["--variant", "elu", "--mc-samples", "7"], 0, "elu 7\n", ""),
        (["--variant", "returns_text"], 0, "returns_text 100\n", ""),
        (["--variant", "returns_3"], 3, "returns_3 100\n", ""),
        (
            ["--variant", "bad"],
            2,
            "",
            "Error: variant: expected a [b]; received :bug:. Try c.\n",
        ),
        (["--variant", "diverges"], 1, "", "Error: Diverged: loss inf in epoch 2\n"),
        (
            ["--variant", "full"],
            1,
            "",
            "Error: [Errno 28] No space left on device: 'checkpoints/epoch-000001.npz'. Mend that "
            "and give the same command again: what is kept is used.\n",
        ),
    ],
)
def test_exit_code_and_output(
    program: list[str], arguments: list[str], code: int, stdout: str, stderr: str
) -> None:
    ran = run_program(program, *arguments)
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, stdout, stderr)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--varaint", "elu"], "No such option: --varaint (Possible options: --variant)"),
        ([], "Missing option '--variant'"),
        (["--variant", "elu", "--mc-samples", "0"], "an integer from 1 to 1000; received '0'."),
        (["--variant", "elu", "--mc-samples", "2.5"], "an integer from 1 to 1000; received '2.5'."),
        (["--variant", "elu", "--mc-samples"], "'--mc-samples' requires an argument"),
        (["--variant", "elu", "bn"], "unexpected extra argument(s) (bn)"),
    ],
)
def test_a_wrong_command_line_exits_2_with_one_line(
    program: list[str], arguments: list[str], said: str
) -> None:
    ran = run_program(program, *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("Error: ")
    assert ran.stderr.count("\n") == 1
    assert said in ran.stderr


def test_a_setting_that_would_change_results_exits_2_with_one_line(
    program: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    ran = run_program(program, "--variant", "elu")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "Error: XLA_FLAGS: expected --xla_cpu_prefer_vector_width=512, with which results are made;"
        " received '--xla_cpu_enable_fast_math=true'. Unset it: the pipeline sets its own.\n"
    )


def test_an_unexpected_error_exits_1_with_its_traceback_but_without_passwords(
    program: list[str],
) -> None:
    ran = run_program(program, "--variant", "fails")
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr
    assert ran.stderr.endswith("OSError: no answer from http://user:***@host\n")


def test_help_names_every_option_and_exits_0(program: list[str]) -> None:
    ran = run_program(program, "--help")
    assert ran.returncode == 0
    assert "--variant" in ran.stdout
    assert "such as elu, bn or selu" in ran.stdout
    assert "--mc-samples" in ran.stdout
    assert "[default: 100]" in ran.stdout


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_help_has_panels_kinds_whole_defaults_and_an_example_in_80_columns(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", [f"pipeline.{name}", "--help"])
    assert command._parse(getattr(import_module(f"pipeline.{name}"), name)) is None
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(f" python -m pipeline.{name}") for line in lines)
    titles = [line.split()[1] for line in lines if line.startswith("\u256d")]
    parameters = ENTRY_POINTS[name]
    asked = {parameters.panel(field) for field, *_ in parameters.options()}
    assert titles == ["Options", *(panel for panel in PANELS if panel in asked)]
    of_options = lines[next(place for place, line in enumerate(lines) if "\u256d" in line) :]
    shown = " ".join("".join(of_options).replace("\u2502", " ").split())
    for _, option, default, declared in parameters.options():
        _, _, of = shown.partition(f" --{option.replace('_', '-')} ")
        assert of.startswith(declared.metavar), option
        assert "text" not in declared.metavar, option
        ends = "[required]" if default is REQUIRED else f"[default: {plain(default)}]"
        assert ends == re.findall(r"\[(?:default: |required)[^]]*\]", of)[0], option
    assert not re.search(r"<(?!bool)", shown)  # as Typer names types


def test_help_of_the_ui_is_as_that_of_the_entry_points() -> None:
    program = [sys.executable, "-m", "pipeline.ui", "--help"]
    environment = {**os.environ, "COLUMNS": "80"}
    ran = subprocess.run(
        program, env=environment, cwd=PROJECT, capture_output=True, text=True, check=True
    )
    lines = ran.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[1] for line in lines if line.startswith("\u256d")] == [
        "Options",
        "Running",
    ]
    assert "--port        whole number" in ran.stdout
    assert "[default: 127.0.0.1]" in ran.stdout
    assert "\n python -m pipeline.ui --port 5001 --open never " in ran.stdout
    assert "\n server, nothing is started and the addresses there are shown; " in ran.stdout


def interrupted(program: list[str], signal_number: int) -> int:
    """The exit code of a step that gets a signal while it runs."""
    with subprocess.Popen(
        [*program, "--variant", "waits"], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout
        assert running.stdout.readline() == "waiting\n"
        running.send_signal(signal_number)
        return running.wait(timeout=60)


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_with_its_own_exit_code(
    program: list[str], signal_number: int, code: int
) -> None:
    assert interrupted(program, signal_number) == code


class How(Parameters):
    """Running."""

    how: str = asked(REQUIRED, "How.")


def adopted_step(given: How) -> int | None:
    how = given.how
    if how == "fails":
        raise OSError("disk full")
    if how == "refused":
        raise InputError("how", expected="a", received="b", action="Do c." + 9000 * "!")
    if how in ("SIGTERM", "SIGINT", "SIGHUP"):
        os.kill(os.getpid(), getattr(signal, how))
        time.sleep(60)
    if how == "says its environment":
        return 10 + (hook.VARIABLE in os.environ)
    return 3 if how == "alarm" else None


def test_the_run_that_mlflow_opened_gets_the_same_end_and_the_reason(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.tracking import client

    experiment = client.experiment_id()

    def end_of(*arguments: str) -> tuple[str, str]:
        opened = client.connect().create_run(experiment).info.run_id
        monkeypatch.setenv("MLFLOW_RUN_ID", opened)
        monkeypatch.setattr(sys, "argv", ["step", *arguments])
        with pytest.raises((SystemExit, OSError)):
            command.run(adopted_step)
        run = client.connect().get_run(opened)
        return run.info.status, run.data.tags.get("failure_reason", "")

    before = signal.getsignal(signal.SIGTERM)
    try:
        assert end_of("--hwo", "x") == ("FAILED", "No such option: --hwo (Possible options: --how)")
        refused = "how: expected a; received b. Do c." + 9000 * "!"
        assert end_of("--how", "refused") == ("FAILED", command.shown(refused))
        assert end_of("--how", "fails") == ("FAILED", "OSError: disk full")
        assert end_of("--how", "SIGTERM") == ("KILLED", "interrupted")
        assert end_of("--how", "alarm") == ("FINISHED", "")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "soon")
        status, reason = end_of("--how", "well")
        assert status == "FAILED"
        assert reason.startswith(
            "MLFLOW_HTTP_REQUEST_TIMEOUT: expected a value that MLflow can read"
        )
        monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
        # `mlflow run` itself ends the run of a command that succeeds.
        assert end_of("--how", "well") == ("RUNNING", "")
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--hwo", "x"], 2, "No such option: --hwo (Possible options: --how)"),
        (["--how", "refused"], 2, "how: expected a; received b. Do c.!!!"),
        (["--how", "fails"], 1, "OSError: disk full"),
        (["--how", "SIGTERM"], 143, "It was ended by SIGTERM."),
        (["--how", "SIGINT"], 130, None),  # a person's, at a terminal
        (["--how", "SIGHUP"], 129, None),
        (["--how", "alarm"], 3, None),  # which an entry point tells by itself
        (["--how", "well"], 0, None),
        (["--help"], 0, None),
        (["--how", "says its environment"], 10, None),
    ],
)
def test_people_are_told_of_a_failure_once(
    arguments: list[str], code: int, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.setattr(sys, "argv", ["step", *arguments])
    with receiver() as received:
        monkeypatch.setenv(hook.VARIABLE, received.address)
        with pytest.raises(SystemExit) as ended:
            command.run(adopted_step, is_told=True)
    assert ended.value.code == code
    texts = [(body["exit_code"], body["text"].partition(": ")[2]) for body in received.bodies]
    assert [(of, text[: len(said or "")]) for of, text in texts] == ([(code, said)] if said else [])


def test_nobody_is_told_of_what_is_no_night(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    with receiver() as received:
        for how, code in (("refused", 2), ("says its environment", 10)):
            monkeypatch.setattr(sys, "argv", ["step", "--how", how])
            monkeypatch.setenv(hook.VARIABLE, received.address)
            with pytest.raises(SystemExit) as ended:
                command.run(adopted_step)
            assert ended.value.code == code
    assert received.bodies == []


def test_an_address_of_a_hook_that_is_none_is_refused_where_it_would_be_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.setattr(sys, "argv", ["step", "--how", "well"])
    for is_told, code in ((True, 2), (False, 0)):
        monkeypatch.setenv(hook.VARIABLE, "hooks.example/the-secret")
        with pytest.raises(SystemExit) as ended:
            command.run(adopted_step, is_told=is_told)
        assert ended.value.code == code
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert "Correct or unset it." in shown.err
    assert "the-secret" not in shown.out + shown.err


@pytest.mark.slow
def test_a_run_of_mlflow_stays_finished_where_the_exit_code_tells_of_an_alarm(
    store: Path, program: list[str]
) -> None:
    project = 'entry_points: {main: {command: "python step.py --variant returns_3"}}'
    (store / "MLproject").write_text(project, "utf-8")
    environment = environment_of_a_user() | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    ran = subprocess.run(
        ["mlflow", "run", ".", "--env-manager", "local"],
        cwd=store,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1, ran.stderr  # of MLflow, whatever the command's own is
    (run,) = mlflow.MlflowClient().search_runs(["0"])
    deadline = time.monotonic() + 120
    while status_of(run.info.run_id) != "FINISHED":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "failure_reason" not in run.data.tags


def test_a_run_that_is_none_is_no_second_error(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "none")
    monkeypatch.setattr(sys, "argv", ["step", "--how", "refused"])
    with pytest.raises(SystemExit):
        command.run(adopted_step)
    assert capsys.readouterr().err.count("Error:") == 1


def test_a_message_is_shown_on_one_line_and_not_endlessly() -> None:
    assert command.shown("a\x1b[2Jb\r\nc\x00 \udc80 é 汉 [red]") == (
        "a\\x1b[2Jb\\r\\nc\\x00 \\udc80 é 汉 [red]"
    )
    assert command.shown(10_000 * "x") == 4000 * "x" + "... (6000 more characters)"
    assert command.shown("") == ""


def test_only_the_command_line_of_an_adopted_run_needs_mlflow() -> None:
    program = (
        "import os, sys; os.environ.pop('MLFLOW_RUN_ID', None)\n"
        "from pipeline import command\n"
        "from pipeline.parameters.groups import OneVariant\n"
        "sys.argv = ['step', '--variant', 'x', '--wrong', '1']\n"
        "def step(asked: OneVariant) -> None: ...\n"
        "try:\n"
        "    command.run(step)\n"
        "finally:\n"
        "    assert not {'mlflow', 'numpy', 'pandas', 'tensorflow'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(command.__file__).parents[1])}
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert ran.returncode == 2, ran.stderr
