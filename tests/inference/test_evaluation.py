"""Evaluating measures what the network gives, in order, and leaves the network as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from neocog.data.loading import Batch
from neocog.errors import DataError
from neocog.inference.evaluation import evaluate_network
from neocog.inference.metrics import measure


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8 * 16, 4))
    return nn.Sequential(*layers)


@pytest.fixture
def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(10, 3, 6, 6, generator=generator)
    targets = torch.randint(0, 4, (10,), generator=generator)
    places = torch.randperm(10, generator=generator)
    return [Batch(images[rows], targets[rows], places[rows]) for rows in torch.arange(10).split(4)]


def joined(batches: list[Batch]) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(torch.cat([getattr(b, name) for b in batches]) for name in ("images", "targets", "indices"))


def test_outputs_are_those_of_evaluation_mode_in_the_batches_order(network: nn.Module, batches: list[Batch]) -> None:
    report, outputs = evaluate_network(network, batches, classes="abcd")
    images, targets, places = joined(batches)
    with torch.no_grad():
        torch.testing.assert_close(outputs.logits, network.eval()(images))
    assert torch.equal(outputs.targets, targets)
    assert torch.equal(outputs.indices, places)
    assert report.to_dict() == measure(outputs.logits, targets, "abcd").to_dict()


def test_every_module_gets_its_own_mode_back(network: nn.Module, batches: list[Batch]) -> None:
    network.train()
    network[1].eval()
    statistics = network[1].running_mean.clone()
    evaluate_network(network, batches, classes="abcd")
    assert [module.training for module in network] == [True, False, True, True, True]
    assert network.training
    assert torch.equal(network[1].running_mean, statistics)


def test_the_mode_comes_back_after_an_error_too(network: nn.Module, batches: list[Batch]) -> None:
    batches[1] = replace(batches[1], images=batches[1].images[:, :2])
    with pytest.raises(RuntimeError):
        evaluate_network(network, batches, classes="abcd")
    assert network.training
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_outputs_can_be_used_in_training(network: nn.Module, batches: list[Batch]) -> None:
    _, outputs = evaluate_network(network, batches, classes="abcd")
    weight = torch.ones(4, requires_grad=True)
    (outputs.logits * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precision_is_that_of_the_forward_pass_and_logits_come_in_float32(
    network: nn.Module, batches: list[Batch], precision: str
) -> None:
    seen: list[torch.dtype] = []
    network[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    _, exact = evaluate_network(network, batches, classes="abcd")
    _, outputs = evaluate_network(network, batches, classes="abcd", precision=precision)
    assert seen[0] is torch.float32
    assert seen[-1] is (torch.bfloat16 if precision == "bf16" else torch.float16)
    assert outputs.logits.dtype is torch.float32
    assert not torch.equal(outputs.logits, exact.logits)
    torch.testing.assert_close(outputs.logits, exact.logits, rtol=0.05, atol=0.05)


def test_several_labels_are_measured_as_such(network: nn.Module, batches: list[Batch]) -> None:
    batches = [replace(batch, targets=torch.nn.functional.one_hot(batch.targets, 4).float()) for batch in batches]
    report, outputs = evaluate_network(network, batches, classes="abcd", multi_label=True)
    assert outputs.targets.shape == (10, 4)
    assert report.mean_average_precision is not None


def test_progress_counts_batches(network: nn.Module, batches: list[Batch]) -> None:
    heard: list[tuple[int, int]] = []
    evaluate_network(network, batches, classes="abcd", progress=lambda *both: heard.append(both))
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_no_images_are_an_error(network: nn.Module) -> None:
    with pytest.raises(DataError, match="no images"):
        evaluate_network(network, [], classes="abcd")
