from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import TensorBatches, make_network
from torch import Tensor, nn

from neocog.train.fit import fit
from neocog.train.recipe import Recipe
from neocog.train.supervised import SupervisedTask

RECIPE = Recipe(epochs=2, batch_size=8)
HERE = Path(__file__).parent


def two_processes(out: Path, norm: str, accumulate: int = 1) -> dict[str, Any]:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--standalone"),
        *(str(HERE / "two_processes.py"), str(out), norm, str(accumulate)),
    ]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    saved: dict[str, Any] = torch.load(out, weights_only=True)
    return saved


def one_process(norm: bool, accumulate: int) -> dict[str, Tensor]:
    task = SupervisedTask(make_network(norm=norm))
    *_, _ = fit(task, TensorBatches(accumulate=accumulate), RECIPE)
    return task.state_dict()


def test_two_processes_equal_one_at_the_same_global_batch(tmp_path: Path) -> None:
    saved = two_processes(tmp_path / "out.pt", "plain")
    assert saved["step"] == 6
    assert saved["mean"] == 0.5
    assert saved["flags"] == [True, False]
    for name, tensor in one_process(False, 1).items():
        torch.testing.assert_close(saved["weights"][name], tensor, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_with_batch_norm_they_equal_one_that_accumulates_the_same_micro_batches(
    tmp_path: Path, accumulate: int
) -> None:
    saved = two_processes(tmp_path / "out.pt", "norm", accumulate)["weights"]
    for name, tensor in one_process(True, 2 * accumulate).items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(saved[name], tensor, rtol=1e-5, atol=1e-6)


def test_running_statistics_move_towards_the_mean_over_processes(tmp_path: Path) -> None:
    saved = two_processes(tmp_path / "out.pt", "norm")["weights"]
    task = SupervisedTask(make_network(norm=True))
    norm = task.network.norm
    assert isinstance(norm, nn.BatchNorm2d)
    seen: list[Tensor] = []
    norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    mean, variance = torch.zeros(8), torch.ones(8)
    for _ in fit(task, TensorBatches(accumulate=2), RECIPE):
        means = torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
        variances = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in seen]).mean(0)
        mean, variance = mean.lerp(means, 0.1), variance.lerp(variances, 0.1)
        seen.clear()
    torch.testing.assert_close(saved["network.norm.running_mean"], mean, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(saved["network.norm.running_var"], variance, rtol=1e-4, atol=1e-6)
