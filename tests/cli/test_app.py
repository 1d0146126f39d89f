from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from neocog.errors import DataError, StorageError, TrainingError, WeightsError

Command = Callable[..., SimpleNamespace]
Job = Callable[..., list]
Shell = Callable[..., subprocess.CompletedProcess[str]]
COMMANDS = ("models", "recipes", "demo", "train", "lr-find", "evaluate", "predict", "doctor")
ESCAPE = "\x1b"


@pytest.mark.parametrize("arguments", [["--help"], ["models", "mobilenetv2*"], ["models", "--json"], ["--version"]])
def test_looking_around_imports_no_torch(shell: Shell, arguments: list[str]) -> None:
    told = "import atexit, sys; atexit.register(lambda: print('LOADED', *sys.modules, file=sys.stderr))"
    done = shell(arguments, code=told)
    loaded = done.stderr.partition("LOADED")[2].split()
    assert done.returncode == 0
    assert "neocog.cli" in loaded
    assert not {"torch", "datasets", "numpy", "PIL", "huggingface_hub"} & set(loaded)


def test_help_names_every_command_in_its_group_and_the_exit_codes(command: Command) -> None:
    shown = command("--help")
    assert shown.code == 0
    assert all(group in shown.out for group in ("Look", "Train", "Use", "Machine"))
    assert all(f" {name} " in shown.out for name in COMMANDS)
    assert "some inputs were skipped" in shown.out


def test_no_arguments_show_the_help(command: Command) -> None:
    assert command().out == command("--help").out


@pytest.mark.parametrize("name", [*COMMANDS, "recipes show"])
def test_every_command_explains_itself_with_an_example(command: Command, name: str) -> None:
    shown = command(*name.split(), "--help")
    assert shown.code == 0
    assert f"neocog {name}" in shown.out.partition("Example")[2]


def test_the_module_runs_as_the_command_does(shell: Shell) -> None:
    done = shell(["--version"])
    assert (done.returncode, done.stdout[:7], done.stderr) == (0, "neocog ", "")


def test_piped_output_has_no_control_characters(shell: Shell) -> None:
    for arguments in (["--help"], ["models"], ["nonsense"]):
        done = shell(arguments)
        assert ESCAPE not in done.stdout + done.stderr
        assert "\r" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("trian photos", "'train'"),
        ("train photos --epoch 3", "--epochs"),
        ("models --sort size", "'parameters'"),
        ("train photos --epochs many", "--epochs"),
        ("evaluate model.safetensors", "SOURCE"),
        ("models mobilenet_100", "mobilenetv2_100"),
        ("models mobilenet2*", "mobilenetv2"),
        ("recipes show qick", "quick"),
        ("train", "--resume RUN"),
        ("train photos --set epochs", "NAME=VALUE"),
    ],
)
def test_what_cannot_be_meant_is_one_line_with_a_hint_and_code_2(command: Command, arguments: str, hint: str) -> None:
    done = command(*arguments.split())
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("neocog: ")
    assert done.err.count("\n") == 1
    assert hint in done.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("no images in x"), 3),
        (WeightsError("x is damaged"), 4),
        (TrainingError("the loss is not finite"), 5),
        (StorageError("the disk is full"), 6),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 6),
        (PermissionError(errno.EACCES, "Permission denied", "runs/x"), 6),
        (MemoryError(), 5),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory"), 5),
        (KeyError("lost"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_becomes_one_line_and_its_exit_code(
    command: Command, job: Job, error: BaseException, code: int
) -> None:
    job("train", error)
    done = command("train", "photos")
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("neocog: ")
    assert done.err.count("\n") == 1


def test_a_message_of_several_lines_is_told_in_one(command: Command, job: Job) -> None:
    job("train", DataError("worker 0:\n  a.jpg is\n\n  empty"))
    assert command("train", "photos").err == "neocog: worker 0: a.jpg is empty\n"


def test_an_unforeseen_message_of_pages_is_cut(command: Command, job: Job) -> None:
    job("train", KeyError("x" * 100_000))
    assert len(command("train", "photos").err) < 500


def test_running_out_of_memory_says_what_to_lower(command: Command, job: Job) -> None:
    job("train", MemoryError())
    assert "--batch-size" in command("train", "photos").err


def test_an_unforeseen_error_shows_its_traceback_only_on_request(
    command: Command, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job("train", KeyError("lost"))
    assert "Traceback" not in command("train", "photos").err
    monkeypatch.setenv("NEOCOG_TRACEBACK", "1")
    assert "Traceback" in command("train", "photos").err


def test_an_interrupted_run_exits_with_its_signal(command: Command, job: Job) -> None:
    from neocog.jobs import Interrupted

    job("train", Interrupted(Path("runs/photos"), signal.SIGTERM))
    done = command("train", "photos")
    assert done.code == 143
    assert "neocog train --resume runs/photos" in done.err


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "neocog", "models", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), said) == (141, b"")


def test_library_warnings_reach_only_those_who_ask() -> None:
    noisy = """
import warnings
from neocog.cli import _app
run = _app._run
def noisy_run(arguments):
    warnings.warn("noise")
    return run(arguments)
_app._run = noisy_run
_app.main(["--version"])
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    quiet, asked = (
        subprocess.run(
            [sys.executable, *options, "-c", noisy], capture_output=True, text=True, env=environment, check=True
        )
        for options in ((), ("-W", "default"))
    )
    assert quiet.stderr == ""
    assert "noise" in asked.stderr
