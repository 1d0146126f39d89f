from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from neocog.train.checkpoint import Checkpoints
from neocog.train.run import Run

HERE = Path(__file__).parent


def kill_and_resume(source: str | Path, out: Path, kills: int, seed: int, workers: int) -> str:
    command = [sys.executable, str(HERE / "killing.py"), str(source), str(out), str(kills), str(seed), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def assert_same_end(out: Path) -> None:
    runs = [out / "whole", *out.glob("done-*"), out / "broken"]
    ends = [load_file(run / "model.safetensors") for run in runs]
    states = [Checkpoints(run / "checkpoints").latest() for run in runs]
    curves = [
        [{k: v for k, v in row.items() if k in ("epoch", "step", "train_loss", "val_loss", "val_top1")} for row in rows]
        for rows in (Run.open(run).read_metrics() for run in runs)
    ]
    for number in range(1, len(runs)):
        assert ends[number].keys() == ends[0].keys()
        for name, tensor in ends[0].items():
            assert torch.equal(ends[number][name], tensor), (runs[number].name, name)
        assert states[number] is not None
        for name, tensor in states[0].tensors.items():
            assert torch.equal(states[number].tensors[name], tensor), (runs[number].name, name)
        assert curves[number] == curves[0]


def test_a_run_killed_twenty_times_ends_in_the_same_bits(tmp_path: Path) -> None:
    said = kill_and_resume("digits", tmp_path, kills=20, seed=0, workers=0)
    assert said.startswith("killed 20 ")
    assert_same_end(tmp_path)


def test_the_number_of_workers_may_change_between_kills(tmp_path: Path, photographs: Path) -> None:
    kill_and_resume(photographs, tmp_path, kills=4, seed=1, workers=2)
    assert_same_end(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_a_checkpoint_and_says_how_to_resume(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "neocog", "train", "digits", "--epochs", "4000", "--out", str(out)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 120
    while not (out / "metrics.csv").exists() and time.monotonic() < deadline:  # an epoch, and no checkpoint yet
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"neocog train --resume {out}" in error
    assert "Traceback" not in error
    found = Checkpoints(out / "checkpoints").latest()
    assert found is not None
    assert not found.warnings
