"""A ResNet that leaves blocks out while it trains: which, how often, what that saves, and what becomes of the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from parity import (
    assert_every_parameter_is_trained,
    batch_norm,
    differs_from_reading_by,
    overwritten_outputs,
    randomise,
    relative_difference,
    shapes,
    stage_shapes,
    steps_to_learn_digits,
)
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from neocog.errors import UsageError
from neocog.models import resnet
from neocog.models.stochastic_depth import CONFIGS, StochasticBlock, StochasticDepthNetwork

RESNET_110 = "resnet110_stochastic_depth"


def build(**edits: object) -> StochasticDepthNetwork:
    return StochasticDepthNetwork(replace(CONFIGS[RESNET_110], **edits))


def blocks(network: nn.Module) -> dict[str, StochasticBlock]:
    return {name: module for name, module in network.named_modules() if isinstance(module, StochasticBlock)}


def survivors(network: nn.Module, images: Tensor, seed: int, *, norms: bool = True) -> tuple[set[str], Tensor]:
    """Return the blocks that one pass in training mode computes, by their convolutions, and its logits.

    Without `norms`, batch norms alone are in evaluation mode.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(norms)
    ran: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and name not in ("conv1", "module.conv1")
    ]
    torch.manual_seed(seed)
    logits = network(images)
    for handle in handles:
        handle.remove()
    found = {name.rpartition(".")[0] for name in ran}
    assert len(ran) == 2 * len(found), "a block's two convolutions are computed both, or neither"
    return found, logits


def reference_logits(state: dict[str, Tensor], x: Tensor, scale: dict[str, float]) -> Tensor:
    """Equation 5 read once more, from the parameters alone: F of each block times its `scale`."""

    def convolve(x: Tensor, conv: str, bn: str, stride: int = 1) -> Tensor:
        return batch_norm(F.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=1), state, bn)

    x = convolve(x, "conv1", "bn1").relu()
    for at in (name.removesuffix(".conv1.weight") for name in state if name.endswith(".conv1.weight")):
        widens = state[f"{at}.conv1.weight"].shape[0] != x.shape[1]
        y = convolve(x, f"{at}.conv1", f"{at}.bn1", 2 if widens else 1).relu()
        y = scale[at] * convolve(y, f"{at}.conv2", f"{at}.bn2")
        if widens:
            x = (x[..., ::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, ::2] + x[..., 1::2, 1::2]) / 4
            x = torch.cat([x, torch.zeros_like(y[:, x.shape[1] :])], dim=1)
        x = (x + y).relu()
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


def test_parameters_are_those_of_resnet_110():
    with torch.device("meta"):
        theirs = resnet.ResNet(resnet.CONFIGS["resnet110"])
        assert shapes(build()) == shapes(theirs)


def test_survival_falls_linearly_to_a_half_over_54_blocks_of_which_40_are_expected():
    with torch.device("meta"):
        network = build()
    survival = [block.survival for block in blocks(network).values()]
    assert len(survival) == 54
    assert survival == pytest.approx([1 - number / 108 for number in range(1, 55)])
    assert network.expected_blocks == pytest.approx((3 * 54 - 1) / 4) == pytest.approx(40.25)


def test_blocks_are_left_out_as_often_as_they_should_be():
    network = build(width=1, num_classes=2)
    images, passes = torch.randn(1, 3, 4, 4), 40
    with torch.no_grad():
        counts = [len(survivors(network, images, seed, norms=False)[0]) for seed in range(passes)]
    # One pass has a standard deviation of 3 blocks (the sum of p (1 - p) is 9.1), their mean one of 0.5.
    assert sum(counts) / passes == pytest.approx(40.25, abs=1.5)
    assert len(set(counts)) > 5


def test_at_test_time_every_block_is_weighed_by_its_survival():
    network = build(depths=(2, 2, 2))
    scale = dict(zip(blocks(network), [1 - number / 12 for number in range(1, 7)], strict=True))
    assert differs_from_reading_by(network, partial(reference_logits, scale=scale), 3, 32, 32) < 1e-5


def test_while_training_the_network_is_the_short_one_of_the_blocks_that_survive():
    network = build(depths=(2, 2, 2), last_survival=0.3)
    randomise(network)
    images = torch.randn(2, 3, 16, 16)
    seen = set()
    for seed in range(8):
        with torch.no_grad():
            found, logits = survivors(network, images, seed, norms=False)
            scale = {name: float(name in found) for name in blocks(network)}
            assert relative_difference(logits, reference_logits(network.state_dict(), images, scale)) < 1e-5
        seen.add(frozenset(found))
    assert len(seen) > 4


def test_blocks_left_out_have_gradients_of_zero_and_the_others_have_some():
    network = build(depths=(3, 3, 3), last_survival=0.2)
    network.init_weights()
    found, logits = survivors(network, torch.randn(4, 3, 16, 16), seed=1)
    F.cross_entropy(logits, torch.arange(4)).backward()
    left_out = blocks(network).keys() - found
    assert left_out
    assert found
    for name, parameter in network.named_parameters():
        at = ".".join(name.split(".")[:2])
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()) is (at not in left_out), name


def test_several_micro_batches_add_up_whatever_each_left_out():
    network = build(depths=(2, 2, 2), last_survival=0.2)
    network.init_weights()
    images = torch.randn(4, 3, 8, 8)
    added: dict[str, Tensor] = {}
    for seed in (3, 4):
        network.zero_grad()
        survivors(network, images, seed)[1].sum().backward()
        added = {name: added.get(name, 0) + each.grad for name, each in network.named_parameters()}
    network.zero_grad()
    for seed in (3, 4):
        survivors(network, images, seed)[1].sum().backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, added[name], msg=name)


def test_frozen_blocks_and_passes_without_gradients_are_left_out_too():
    network = build(depths=(1, 1, 1), last_survival=0.1)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    assert not survivors(network, torch.randn(2, 3, 8, 8), seed=0)[1].requires_grad
    network.fc.requires_grad_(True)
    survivors(network, torch.randn(2, 3, 8, 8), seed=0)[1].sum().backward()
    assert {name for name, parameter in network.named_parameters() if parameter.grad is not None} == {
        "fc.weight",
        "fc.bias",
    }


def test_distributed_training_finds_every_gradient(tmp_path: Path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        network = build(depths=(2, 2, 2), last_survival=0.2)
        wrapped = DistributedDataParallel(network)
        for seed in range(4):  # a gradient that did not come would stop the pass after it
            found, logits = survivors(wrapped, torch.randn(2, 3, 8, 8), seed)
            assert len(found) < 6
            logits.sum().backward()
    finally:
        dist.destroy_process_group()


TRAINS = """
import sys
import torch
from helpers import TensorBatches
from neocog.models import create_model
from neocog.train.distributed import Alone, Together, join_processes, leave_processes
from neocog.train.fit import fit
from neocog.train.recipe import Recipe
from neocog.train.supervised import SupervisedTask

processes, out = int(sys.argv[1]), sys.argv[2]
torch.manual_seed(0)
edits = dict(depths=(2, 2, 2), width=4, last_survival=0.3)
network = create_model("resnet110_stochastic_depth", num_classes=3, **edits).double()
task = SupervisedTask(network)
if processes > 1:
    join_processes("cpu")
sync = Together(task) if processes > 1 else Alone(task)
batches = TensorBatches(accumulate=2 // processes, rank=sync.rank, world_size=processes)
batches.images = batches.images.double()
for state in fit(task, batches, Recipe().override({"epochs": 2, "batch_size": 8, "precision": "fp32"}), sync=sync):
    pass
if sync.is_main:
    torch.save({name: each.detach() for name, each in network.named_parameters()}, out)
leave_processes()
"""


@pytest.mark.slow
def test_two_processes_that_leave_out_different_blocks_equal_one_that_accumulates(tmp_path: Path):
    script = tmp_path / "trains.py"
    script.write_text(TRAINS)
    helpers = Path(__file__).parents[1] / "train"
    path = os.pathsep.join(filter(None, [str(helpers), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def trained(processes: int, launcher: Sequence[str]) -> dict[str, Tensor]:
        out = tmp_path / f"{processes}.pt"
        command = [sys.executable, *launcher, str(script), str(processes), str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        weights: dict[str, Tensor] = torch.load(out, weights_only=True)
        return weights

    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--standalone"]
    alone, together = trained(1, []), trained(2, launcher)
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, rtol=1e-9, atol=1e-12, msg=name)


def test_with_certain_survival_every_parameter_is_trained():
    assert_every_parameter_is_trained(build(depths=(2, 2, 2), last_survival=1.0), torch.randn(4, 3, 16, 16))


def test_no_output_of_a_module_is_overwritten():
    torch.manual_seed(0)
    assert overwritten_outputs(build(depths=(3, 3, 3)), torch.randn(2, 3, 8, 8)) == []


def test_digits_are_learned():
    torch.manual_seed(0)
    assert steps_to_learn_digits(build(depths=(1, 1, 1)), limit=100) <= 100


def test_stages_halve_odd_sides_as_their_convolutions_do():
    assert stage_shapes(build(depths=(1, 1, 1)), 3, 25, 18) == [(16, 25, 18), (32, 13, 9), (64, 7, 5)]


def test_the_1202_layers_run():
    network = StochasticDepthNetwork(CONFIGS["resnet1202_stochastic_depth"])
    assert network.expected_blocks == pytest.approx((3 * 600 - 1) / 4)
    with torch.no_grad():
        found, logits = survivors(network, torch.randn(2, 3, 4, 4), seed=0)
        assert logits.isfinite().all()
    assert 400 < len(found) < 500


@pytest.mark.parametrize("survival", [0, -0.5, 1.5])
def test_what_is_no_probability_is_refused(survival: float):
    with pytest.raises(UsageError, match=str(survival)):
        build(last_survival=survival)
