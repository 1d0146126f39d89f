"""`tap` reads what is inside a network, whatever it is wrapped in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from neocog.errors import UnknownNameError
from neocog.models import create_model, tap, unwrap


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 1, 32, 32)


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_outputs_of_named_modules_are_seen(images: Tensor) -> None:
    network = create_model("lenet5")
    with tap(network, ["c1", "c5"]) as seen:
        network(images)
    assert {name: tensor.shape for name, tensor in seen.items()} == {
        "c1": (2, 6, 28, 28),
        "c5": (2, 120, 1, 1),
    }
    assert torch.equal(seen["c1"], network.c1(images))


@pytest.mark.parametrize("name", ["lenet5_1998", "mobilenetv2_035"])
def test_every_stage_can_be_tapped(name: str) -> None:
    network = create_model(name).eval()
    with tap(network, network.stage_names) as seen:
        network(torch.rand(1, network.config.in_chans, 32, 32))
    assert tuple(seen) == network.stage_names
    sizes = [tensor.shape[-1] for tensor in seen.values()]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("name", ["lenet5_1998", "lenet5", "mobilenetv2_035"])
@pytest.mark.parametrize("training", [True, False])
def test_no_network_writes_into_what_a_module_returned(name: str, training: bool) -> None:
    network = create_model(name).train(training)
    names = [name for name, module in network.named_modules() if name and not list(module.children())]
    as_returned: dict[str, Tensor] = {}
    handles = [
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: as_returned.update({name: output.detach().clone()})
        )
        for name in names
    ]
    with tap(network, names) as seen:
        network(torch.rand(4, network.config.in_chans, 32, 32))
    for handle in handles:
        handle.remove()
    assert seen.keys() == as_returned.keys()
    assert all(torch.equal(seen[name], as_returned[name]) for name in seen)


def test_gradients_reach_what_was_tapped(images: Tensor) -> None:
    network = create_model("lenet5")
    with tap(network, ["s4"]) as seen:
        logits = network(images)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), seen["s4"])
    assert gradient.abs().sum() > 0


def test_nothing_is_seen_after_the_context(images: Tensor) -> None:
    network = create_model("lenet5")
    with tap(network, ["c1"]) as seen:
        network(images)
    first = seen["c1"]
    network(images + 1)
    assert seen["c1"] is first


def test_an_error_inside_removes_the_tap(images: Tensor) -> None:
    network = create_model("lenet5")
    with pytest.raises(ZeroDivisionError), tap(network, ["c1"]):
        raise ZeroDivisionError
    assert not network.c1._forward_hooks


def test_a_compiled_network_is_looked_through_also_when_it_ran_before(images: Tensor) -> None:
    network = create_model("lenet5").eval()
    compiled = torch.compile(network, backend="eager")
    expected = compiled(images)
    with tap(compiled, ["c1"]) as seen:
        assert torch.equal(compiled(images), expected)
    assert seen["c1"].shape == (2, 6, 28, 28)
    assert unwrap(compiled) is network


def test_a_network_compiled_in_place_is_looked_through(images: Tensor) -> None:
    network = create_model("lenet5").eval()
    network.compile(backend="eager")
    network(images)
    with tap(network, ["c1"]) as seen:
        network(images)
    assert seen["c1"].shape == (2, 6, 28, 28)


def test_a_distributed_network_is_looked_through(images: Tensor, process_group: None) -> None:
    network = create_model("lenet5")
    distributed = nn.parallel.DistributedDataParallel(network)
    with tap(distributed, ["c1"]) as seen:
        distributed(images)
    assert seen["c1"].shape == (2, 6, 28, 28)
    assert unwrap(torch.compile(distributed, backend="eager")) is network


@pytest.mark.parametrize("name", ["c2", "", "module.c1"])
def test_an_unknown_name_is_answered_with_the_near_ones(name: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown module"), tap(create_model("lenet5"), [name]):
        pass
