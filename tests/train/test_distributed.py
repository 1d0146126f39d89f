from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from helpers import TensorBatches, make_network, make_task
from torch import Tensor, nn

from neocog.jobs._epochs import EpochLog
from neocog.train.distributed import Alone, Together, join_processes, once
from neocog.train.fit import fit
from neocog.train.recipe import Recipe
from neocog.train.supervised import SupervisedTask

RECIPE = Recipe(epochs=2, batch_size=8)
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What two processes made of each setting; one start of them serves all tests."""
    out = tmp_path_factory.mktemp("together") / "out.pt"
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--standalone"),
        *(str(HERE / "two_processes.py"), str(out), "plain:1", "norm:1", "norm:2"),
        *("frozen:1", "frozen:2", "skipping:1", "skipping:2", "focused:1", "focused:2"),
        *("whitened:1", "whitened:2"),
    ]
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    saved: dict[str, dict[str, Any]] = torch.load(out, weights_only=True)
    return saved


def one_process(kind: str, accumulate: int) -> dict[str, Tensor]:
    task = make_task(kind)
    *_, _ = fit(task, TensorBatches(accumulate=accumulate, order=task.focus.order if task.focus else None), RECIPE)
    return task.state_dict()


def test_two_processes_equal_one_at_the_same_global_batch(together: dict[str, dict[str, Any]]) -> None:
    saved = together["plain:1"]
    assert saved["step"] == 6
    assert saved["mean"] == 0.5
    assert saved["gathered"] == [[0.0, 7.0], [1.0, 7.0]]
    assert saved["flags"] == (True, False, True)
    for name, tensor in one_process("plain", 1).items():
        torch.testing.assert_close(saved["weights"][name], tensor, rtol=1e-5, atol=1e-7)


def test_an_epochs_means_are_over_the_images_of_all_processes(together: dict[str, dict[str, Any]]) -> None:
    rows = together["plain:1"]["rows"]
    task, log, expected = SupervisedTask(make_network()), EpochLog(), []
    for state in fit(task, TensorBatches(accumulate=2), RECIPE):
        log.add(state, waited=0.0)
        if state.step_in_epoch == 0:
            expected.append(log.row(state, RECIPE.batch_size, Alone(task)))
    for name in ("train_loss", "train_top1"):
        assert [row[name] for row in rows] == pytest.approx([row[name] for row in expected], rel=1e-5)


def test_what_is_done_once_is_done_by_the_main_process_and_heard_by_all(together: dict[str, dict[str, Any]]) -> None:
    assert together["plain:1"]["answers"] == [[True, True, True], [True, True, False]]


def test_one_process_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("all_reduce", "all_gather", "broadcast_object_list"):
        monkeypatch.setattr(dist, name, None)
    monkeypatch.setattr(Tensor, "item", None)  # by which the host would wait for a GPU
    sync, flags = Alone(SupervisedTask(make_network())), (True, False)
    assert sync.any(*flags) == flags
    assert sync.gather(torch.ones(2)).shape == (1, 2)
    assert once(lambda: 3) == 3


def test_flags_are_raised_from_host_to_host(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **options: joined.append(backend))
    join_processes("cuda:1")
    assert joined == ["cpu:gloo,cuda:nccl"]
    sent: list[Tensor] = []
    monkeypatch.setattr(dist, "all_reduce", lambda tensor, how: sent.append(tensor))
    sync = object.__new__(Together)
    sync.device = torch.device("cuda:1")
    assert sync.any(True, False) == (True, False)
    assert [tensor.device.type for tensor in sent] == ["cpu"]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_with_batch_norm_they_equal_one_that_accumulates_the_same_micro_batches(
    together: dict[str, dict[str, Any]], accumulate: int
) -> None:
    saved = together[f"norm:{accumulate}"]["weights"]
    for name, tensor in one_process("norm", 2 * accumulate).items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(saved[name], tensor, rtol=1e-5, atol=1e-6)


def test_running_statistics_move_towards_the_mean_over_processes(together: dict[str, dict[str, Any]]) -> None:
    saved = together["norm:1"]["weights"]
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


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("kind", ["frozen", "skipping"])
def test_parameters_without_a_gradient_in_some_steps_end_as_in_one_process(
    together: dict[str, dict[str, Any]], kind: str, accumulate: int
) -> None:
    saved = together[f"{kind}:{accumulate}"]
    assert saved["looks"]
    for name, tensor in one_process(kind, 2 * accumulate).items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(saved["weights"][name], tensor, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_processes_take_the_main_ones_whitening_filters(together: dict[str, dict[str, Any]], accumulate: int) -> None:
    saved = together[f"whitened:{accumulate}"]
    assert saved["looks"]
    for name, tensor in one_process("whitened", 2 * accumulate).items():
        torch.testing.assert_close(saved["weights"][name], tensor, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_processes_that_focus_know_each_other_s_losses(together: dict[str, dict[str, Any]], accumulate: int) -> None:
    saved, expected = together[f"focused:{accumulate}"], one_process("focused", 2 * accumulate)
    assert torch.equal(saved["latest"][0], saved["latest"][1])
    assert torch.equal(saved["weights"]["focus.epoch"], expected["focus.epoch"])
    for name in ("focus.latest", "focus.frozen"):
        losses = saved["weights"][name].view(torch.float32), expected[name].view(torch.float32)
        torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-6, msg=name)
    for name, tensor in expected.items():
        if not name.startswith("focus."):
            torch.testing.assert_close(saved["weights"][name], tensor, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_processes_that_focus_end_in_the_same_bits_wherever_they_are_broken_off(
    together: dict[str, dict[str, Any]], accumulate: int
) -> None:
    saved = together[f"focused:{accumulate}"]
    assert len(saved["resumed"]) == 3
    for weights in saved["resumed"]:
        assert weights.keys() == saved["weights"].keys()
        assert all(torch.equal(tensor, weights[name]) for name, tensor in saved["weights"].items())


def test_only_tasks_that_leave_parameters_out_make_processes_look_for_them(
    together: dict[str, dict[str, Any]],
) -> None:
    assert not together["plain:1"]["looks"]


def test_statistics_of_a_frozen_norm_are_no_one_s_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    sync, norms = object.__new__(Together), nn.ModuleList([nn.BatchNorm2d(2), nn.BatchNorm2d(2)])
    norms[0].eval()
    sync._norms = list(norms)
    monkeypatch.setattr(sync, "mean", lambda values: values + 1, raising=False)
    sync.after_step()
    assert norms[0].running_mean.tolist() == [0.0, 0.0]
    assert norms[1].running_mean.tolist() == [1.0, 1.0]
