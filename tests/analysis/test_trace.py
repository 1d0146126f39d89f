"""A pass is recorded as it would run, whatever the network does."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision.models as vision
from torch import Tensor, nn

from neocog.analysis.cost import Cost, count_cost
from neocog.analysis.trace import trace_forward


def cost(network: nn.Module, *image: int, **settings: Any) -> Cost:
    return count_cost(trace_forward(network, image, **settings))


class Looking(nn.Module):
    """Looks at its numbers, so that it can only be run with some."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        if float(x.sum()) > 1e9:
            raise AssertionError
        return self.network(x)


SAME_ON_BOTH = {
    "resnet": (lambda: timm.create_model("test_resnet"), 64),
    "densenet": (lambda: timm.create_model("densenet121", block_config=(2, 2, 2, 2)), 32),
    "efficientnet": (lambda: timm.create_model("test_efficientnet", drop_path_rate=0.1), 64),
    "convnext": (lambda: timm.create_model("convnext_atto"), 64),
    "vit": (lambda: timm.create_model("test_vit"), 160),
    "torch's encoder layers": (lambda: vision.VisionTransformer(32, 8, 2, 3, 48, 96, dropout=0.1), 32),
    "swin": (lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=56, depths=(1, 1, 1, 1)), 56),
    "maxvit": (lambda: timm.create_model("test_maxvit"), 160),
    "shufflenet": (vision.shufflenet_v2_x0_5, 64),
    "mobilenet": (vision.mobilenet_v3_small, 64),
}


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", SAME_ON_BOTH)
def test_the_pass_on_meta_is_the_pass_with_numbers(name: str, training: bool):
    make, size = SAME_ON_BOTH[name]
    network = make()
    shapes = trace_forward(network, (3, size, size), batch=2, training=training)
    numbers = trace_forward(Looking(network), (3, size, size), batch=2, training=training)
    assert (shapes.device, numbers.device) == ("meta", "cpu")

    # Maxvit's attention learns a bias, and with one no kernel for the CPU fuses it: its matrices are kept.
    unfused = name == "maxvit" and training

    def ran(trace: Any) -> list[Any]:
        left_out = ("_local_scalar_dense", *(["view", "_unsafe_view", "clone", "permute"] if unfused else []))
        kept = [each for each in trace.operations if each.name not in left_out]
        return [(each.name, each.outputs[0].shape, each.outputs[0].dtype) for each in kept]

    assert ran(shapes) == ran(numbers)[1:]  # the sum that is looked at
    on_shapes, on_numbers = count_cost(shapes), count_cost(numbers)
    assert on_shapes.macs == on_numbers.macs
    assert on_shapes.backward_macs == on_numbers.backward_macs
    if unfused:
        assert 0.95 * on_numbers.kept_bytes < on_shapes.kept_bytes < on_numbers.kept_bytes
    else:
        assert on_shapes.kept_bytes == on_numbers.kept_bytes


# What users write


def test_functions_count_like_layers():
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(8, 3, 3, 3))
            self.scale = torch.full((8, 1, 1), 2.0)  # neither parameter nor buffer
            self.register_buffer("shift", torch.zeros(1, 8, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            x = F.conv2d(x, self.weight, padding=1) * self.scale + self.shift
            return F.max_pool2d(F.relu(x), 2)

    counted = cost(Functional(), 3, 8, 8)
    maps = 8 * 64
    assert counted.macs == 27 * maps
    assert counted.flops == 2 * 27 * maps + 3 * maps + maps
    assert counted.parameters == 216
    assert counted.weight_bytes == 4 * (216 + 8)


def test_attention_by_hand_costs_what_fused_attention_costs():
    class Attention(nn.Module):
        def __init__(self, fused: bool) -> None:
            super().__init__()
            self.qkv, self.fused = nn.Linear(16, 48), fused

        def forward(self, x: Tensor) -> Tensor:
            query, key, value = self.qkv(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
            if self.fused:
                return F.scaled_dot_product_attention(query, key, value)
            return (query @ key.mT * 8**-0.5).softmax(-1) @ value

    by_hand, fused = (cost(Attention(fused), 50, 16, training=True) for fused in (False, True))
    assert by_hand.macs == fused.macs == 50 * 16 * 48 + 2 * 50 * 50 * 16
    # By hand the 50 x 50 matrices of two heads are kept; a fused kernel computes them again, which is one product more.
    assert by_hand.kept_bytes > fused.kept_bytes + 4 * 2 * 50 * 50 - 4 * 50 * 16 - 4 * 2 * 50
    assert fused.backward_macs == by_hand.backward_macs + 50 * 50 * 16


def test_a_module_that_is_called_twice_runs_twice():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x))

    trace = trace_forward(Twice(), (3, 8, 8))
    rows = count_cost(trace).rows
    assert [(row.name, row.macs, row.parameters) for row in rows] == [("conv", 64 * 81, 84), ("conv", 64 * 81, 0)]
    assert [call.path for call in trace.calls] == ["", "conv", "conv"]
    assert trace.call("conv") is trace.calls[-1]


def test_writing_into_parts_of_a_tensor_is_followed():
    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.head = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            both = torch.zeros(x.shape[0], 8, *x.shape[2:])  # with numbers, on a pass that has none
            both[:, :4] = x
            both[:, 4:].add_(x)
            both.transpose_(2, 3)
            return self.head(both)

    counted = cost(Writing(), 3, 6, 5, training=True)
    assert counted.trace.device == "meta"
    assert counted.trace.outputs[0].shape == (1, 2, 5, 6)
    assert counted.macs == 30 * 12 + 30 * 16
    assert counted.backward_macs == 30 * 12 + 2 * 30 * 16  # the gradient comes back through what was written


def test_encoder_layers_are_counted_as_they_train_and_not_as_the_fast_path():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    evaluated, trained = cost(layer, 10, 16), cost(layer, 10, 16, training=True)
    assert evaluated.macs == trained.macs == 10 * (16 * 48 + 16 * 16 + 2 * 16 * 32) + 2 * 10 * 10 * 16
    assert evaluated.uncounted == {}
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_compiled_network_is_recorded_uncompiled():
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.compile(nn.Conv2d(3, 4, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x).relu()

    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    expected = cost(plain, 3, 8, 8).macs
    assert cost(torch.compile(plain), 3, 8, 8).macs == expected
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cost(Holder(), 3, 8, 8).macs == expected


def test_weights_that_are_computed_are_followed():
    parametrised = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    with pytest.warns(FutureWarning):
        hooked = nn.utils.weight_norm(nn.Conv2d(3, 4, 3))
    weight = hooked.weight
    for network in (parametrised, hooked):
        counted = cost(network, 3, 8, 8, training=True)
        assert (counted.macs, counted.parameters, counted.uncounted) == (36 * 108, 108 + 4 + 4, {})
        assert counted.backward_macs == 36 * 108
    assert hooked.weight is weight


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None


@pytest.mark.parametrize(
    "wrap", [lambda x: {"maps": x, "more": [None, 3]}, lambda x: [x], Output], ids=["dict", "list", "class"]
)
def test_outputs_may_be_nested(wrap: Any):
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Any:
            return wrap(self.conv(x))

    counted = cost(Nested(), 3, 8, 8, training=True)
    assert [value.shape for value in counted.trace.outputs] == [(1, 4, 6, 6)]
    assert (counted.backward_macs, counted.kept_bytes) == (36 * 108, 4 * 144)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_are_of_the_type_that_was_asked_for(dtype: torch.dtype):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU())
    trace = trace_forward(network, (3, 8, 8), dtype=dtype)
    assert trace.outputs[0].dtype == dtype
    assert trace.buffers["1.num_batches_tracked"].dtype == torch.int64
    assert network[0].weight.dtype == torch.float32
