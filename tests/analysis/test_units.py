"""A pass is cut into layers, blocks and stages that follow each other without a gap."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision.models as vision
from torch import Tensor, nn

from neocog.analysis.blank import without_numbers
from neocog.analysis.record import Trace
from neocog.analysis.trace import trace_forward
from neocog.analysis.units import cut
from neocog.models import create_model

NETWORKS: dict[str, Any] = {
    "vgg": vision.vgg11,
    "googlenet": lambda: vision.googlenet(init_weights=False),
    "resnet": lambda: timm.create_model("resnet50"),
    "densenet": lambda: timm.create_model("densenet121"),
    "mobilenet": lambda: timm.create_model("mobilenetv2_100"),
    "vit": lambda: timm.create_model("vit_tiny_patch16_224"),
    "swin": lambda: timm.create_model("swin_tiny_patch4_window7_224"),
    "mixer": lambda: timm.create_model("mixer_s32_224"),
}


@pytest.fixture(scope="module")
def traces() -> dict[str, Trace]:
    found = {}
    for name, make in NETWORKS.items():
        with without_numbers():
            found[name] = trace_forward(make(), (3, 224, 224))
    return found


@pytest.mark.parametrize("level", ["layer", "block", "stage"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_pieces_follow_each_other_without_a_gap(name: str, level: Any, traces: dict[str, Trace]):
    pieces = cut(traces[name], level)
    ends = [0, *(piece.end for piece in pieces)]
    # A piece may begin with what only moves numbers; operations that return nothing belong to none.
    assert all(before <= piece.first < piece.end for before, piece in zip(ends[:-1], pieces, strict=True))
    skipped = [
        trace_index
        for before, piece in zip(ends[:-1], pieces, strict=True)
        for trace_index in range(before, piece.first)
    ]
    assert not [index for index in skipped if traces[name].operations[index].outputs]
    assert pieces[-1].output is traces[name].outputs[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_coarser_levels_have_fewer_pieces(name: str, traces: dict[str, Trace]):
    layers, blocks, stages = (len(cut(traces[name], level)) for level in ("layer", "block", "stage"))
    assert layers > blocks > stages > 1


def test_layers_are_calls_of_modules_and_what_stands_between_them(traces: dict[str, Trace]):
    names = [piece.name for piece in cut(traces["resnet"], "layer")]
    assert names[:4] == ["conv1", "bn1", "act1", "maxpool"]
    first = [name for name in names if name.startswith("layer1.0.")]
    assert "layer1.0.(add)" in first
    assert "layer1.0.downsample.0" in first


def test_blocks_are_those_of_the_paper(traces: dict[str, Trace]):
    resnet = [piece for piece in cut(traces["resnet"], "block") if piece.kind == "Bottleneck"]
    assert [piece.name for piece in resnet] == [
        f"layer{s}.{b}" for s, n in zip("1234", (3, 4, 6, 3), strict=True) for b in range(n)
    ]
    inception = [piece.name for piece in cut(traces["googlenet"], "block") if piece.kind == "Inception"]
    assert inception == [f"inception{each}" for each in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]
    assert sum(piece.kind == "Block" for piece in cut(traces["vit"], "block")) == 12
    assert sum(piece.kind == "SwinTransformerBlock" for piece in cut(traces["swin"], "block")) == 12
    assert sum(piece.kind == "InvertedResidual" for piece in cut(traces["mobilenet"], "block")) == 16


def test_stages_change_where_the_resolution_does(traces: dict[str, Trace]):
    sides = [piece.output.shape[-1] for piece in cut(traces["resnet"], "stage") if len(piece.output.shape) == 4]
    assert [side for side in sides if side > 1] == [112, 56, 28, 14, 7]
    swin = [piece.output.shape[1] for piece in cut(traces["swin"], "stage") if len(piece.output.shape) == 4]
    assert [side for side in swin if side > 1] == [56, 28, 14, 7]


def test_a_network_of_one_layer_is_one_piece_at_every_level():
    trace = trace_forward(nn.Conv2d(3, 4, 3), (3, 8, 8))
    for level in ("layer", "block", "stage"):
        pieces = cut(trace, level)  # type: ignore[arg-type]
        assert [(piece.first, piece.end) for piece in pieces] == [(0, 1)]


def test_a_network_without_modules_inside_is_one_piece_too():
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 3, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.conv2d(x, self.weight).relu().mean((2, 3))

    trace = trace_forward(Bare(), (3, 8, 8))
    assert len(cut(trace, "layer")) == 1
    assert cut(trace, "stage")[-1].output is trace.outputs[0]


def pieces_of(name: str, image: tuple[int, int, int]) -> list[tuple[str, str]]:
    with without_numbers():
        trace = trace_forward(create_model(name), image)
    return [(piece.name, piece.kind) for piece in cut(trace, "block")]


def test_a_layer_that_mixes_what_it_made_with_its_input_is_a_block():
    pieces = pieces_of("highway_a", (3, 32, 32))
    assert [name for name, kind in pieces if kind == "HighwayLayer"] == [
        f"stage{stage}.{layer}" for stage in (1, 2, 3) for layer in (1, 2)
    ]


def test_what_is_given_a_blocks_function_is_a_part_of_the_block():
    pieces = pieces_of("resnet110_stochastic_depth", (3, 32, 32))
    assert [name for name, kind in pieces if kind == "StochasticBlock"] == [
        f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(18)
    ]
    assert "StochasticDepth" not in {kind for _, kind in pieces}
