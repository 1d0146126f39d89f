"""The graph of a network has the branches, sums and gates that its architecture is known for."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision.models as vision
from torch import Tensor, nn

from neocog.analysis.blank import without_numbers
from neocog.analysis.graph import Anatomy, Graph, Inside, Node, anatomy, folded
from neocog.analysis.trace import trace_forward
from neocog.models import create_model

FOREIGN: dict[str, Any] = {
    "googlenet": lambda: vision.googlenet(init_weights=False),
    "densenet121": vision.densenet121,
    "swin_t": vision.swin_t,
    "shufflenet": vision.shufflenet_v2_x0_5,
    "vgg16": vision.vgg16,
}


@cache
def network(name: str) -> nn.Module:
    if name in FOREIGN:
        with without_numbers():
            return FOREIGN[name]().eval()
    if name.startswith("timm:"):
        with without_numbers():
            return timm.create_model(name.removeprefix("timm:")).eval()
    with without_numbers():
        return create_model(name).eval()


@cache
def found(name: str) -> Anatomy:
    module = network(name)
    size = 32 if name.endswith(("t20", "_110")) else 224
    return anatomy(trace_forward(module, (3, size, size)))


def of(module: nn.Module, *shape: int, batch: int = 1) -> Anatomy:
    return anatomy(trace_forward(module.eval(), shape, batch=batch))


def inside(name: str, letter: str) -> Inside:
    return next(each for each in found(name).insides if each.letter == letter)


def kinds(graph: Graph) -> list[str]:
    return [node.kind for node in graph.nodes]


def node(graph: Graph, kind: str) -> int:
    (number,) = (number for number, each in enumerate(graph.nodes) if each.kind == kind)
    return number


def total(name: str, kind: str) -> int:
    """Return how many nodes of a kind the whole network has, each block's counted."""
    anatomy_ = found(name)
    per_letter = {each.letter: kinds(each.graph).count(kind) for each in anatomy_.insides}
    blocks = sum(per_letter[anatomy_.letters[each.call]] for each in anatomy_.overview.nodes if each.call >= 0)
    return blocks + kinds(anatomy_.overview).count(kind)


# Residual networks


@pytest.mark.parametrize(("name", "blocks"), [("resnet18", 8), ("resnet50", 16), ("resnet20", 9), ("resnetv2_110", 54)])
def test_a_residual_network_has_one_sum_a_block(name: str, blocks: int):
    assert total(name, "add") == blocks
    assert total(name, "output") == blocks


def test_blocks_of_one_stage_fold_into_one_node():
    counts = [each.count for each in folded(found("resnet50").overview).nodes if each.kind == "block"]
    assert counts == [3, 4, 6, 3]  # table 1 of the paper


def test_a_projected_shortcut_and_an_identity_are_two_kinds():
    projected, identity = found("resnet50").insides
    assert (len(projected.members), len(identity.members)) == (4, 12)
    plus = node(identity.graph, "add")
    assert node(identity.graph, "input") in identity.graph.into(plus)
    plus = node(projected.graph, "add")
    assert {projected.graph.nodes[each].does for each in projected.graph.into(plus)} == {"1×1 conv, 256"}
    assert "stride" in projected.differ


def test_the_padded_shortcut_of_small_images_is_seen():
    graph = inside("resnet20", "B").graph
    move = graph.nodes[node(graph, "move")]
    assert (move.does, move.after) == ("every 2nd pixel", ("zero-pad to 32 channels",))


def test_the_preactivation_that_both_ways_share_is_one_node():
    graph = inside("resnetv2_110", "A").graph  # "activate_stem": the shortcut of the first block takes it too
    norm = node(graph, "norm")
    assert graph.nodes[norm].after == ("ReLU",)
    assert len(graph.out_of(norm)) == 2


# Branches


def test_an_inception_module_has_four_branches_whose_widths_add_up():
    (module,) = found("googlenet").insides
    assert len(module.members) == 9
    graph = module.graph
    concat = node(graph, "concat")
    branches = graph.into(concat)
    assert len(branches) == len(graph.out_of(node(graph, "input"))) == 4
    assert sum(graph.nodes[each].extent.channels for each in branches) == graph.nodes[concat].extent.channels == 256
    assert Counter(kinds(graph))["convolution"] == 6
    assert Counter(kinds(graph))["pool"] == 1


def test_a_dense_layer_takes_from_all_before_it():
    block = inside("densenet121", "A")
    layers = [number for number, each in enumerate(block.graph.nodes) if each.kind == "block"]
    assert [len(block.graph.into(number)) for number in layers] == [1, 2, 3, 4, 5, 6]
    assert len(block.graph.into(node(block.graph, "concat"))) == 7
    assert len(block.members) == 4
    layer = next(each for each in found("densenet121").insides if each.kind == "_DenseLayer")
    assert len(layer.members) == 6 + 12 + 24 + 16
    assert "number of inputs" in layer.differ


def test_channels_are_split_and_shuffled():
    graph = inside("shufflenet", "B").graph
    split = node(graph, "split")
    assert len(graph.out_of(split)) == 2
    assert node(graph, "concat") in graph.out_of(split)
    assert "shuffle channels, 2 groups" in [each.does for each in graph.nodes]
    assert graph.nodes[-1].extent.sides == (28, 28)


# Inverted residuals and gates


def test_inverted_residuals_expand_six_times_and_add_where_nothing_changes():
    assert total("mobilenetv2_100", "add") == 10  # of 17 blocks, those of stride 1 and equal width (table 2)
    for letter in ("B", "C"):
        graph = inside("mobilenetv2_100", letter).graph
        given, expanded, filtered, projected = graph.nodes[:4]
        assert expanded.extent.channels == filtered.extent.channels == 6 * given.extent.channels
        assert filtered.kind == "depthwise"
        assert projected.after == ("BN",)


def test_squeeze_and_excitation_is_a_gate():
    assert total("timm:efficientnet_b0", "multiply") == 16
    graph = inside("timm:efficientnet_b0", "C").graph
    gate = node(graph, "multiply")
    depthwise = node(graph, "depthwise")
    squeezed = node(graph, "pool")
    assert depthwise in graph.into(gate)
    assert graph.into(squeezed) == [depthwise]
    assert "sigmoid" in [word for each in graph.into(gate) for word in graph.nodes[each].after]


# Tokens


def test_a_transformer_block_has_attention_and_two_sums():
    (block,) = found("timm:vit_tiny_patch16_224").insides
    assert kinds(block.graph) == (
        ["input", "norm", "linear", "attention", "linear", "add", "norm", "linear", "linear", "add", "output"]
    )
    attention = block.graph.nodes[3]
    assert attention.does == "attention, 3 heads"
    assert str(attention.extent) == "197 × 192"
    stem = found("timm:vit_tiny_patch16_224").overview.nodes[1]
    assert stem.after == ("concat cls_token", "+ pos_embed")


def test_windows_are_told_from_images():
    regular, shifted, merging = found("swin_t").insides
    assert (regular.kind, shifted.kind, merging.kind) == (
        "SwinTransformerBlock",
        "SwinTransformerBlock",
        "PatchMerging",
    )
    assert (len(regular.members), len(shifted.members)) == (7, 5)  # a map of one window is not shifted
    graph = shifted.graph
    attention = graph.nodes[node(graph, "attention")]
    assert (attention.does, str(attention.extent)) == ("attention, 3 heads", "64 windows × 49 × 96")
    assert [each.does for each in graph.nodes if each.kind == "move"] == ["cyclic shift −3, −3", "cyclic shift +3, +3"]
    assert "join 2×2 patches" in [each.does for each in merging.graph.nodes]


def test_a_block_ends_where_the_next_module_begins_to_rearrange_its_output():
    nodes = folded(found("timm:swin_tiny_patch4_window7_224").overview).nodes
    assert [(each.count, each.extent.sides) for each in nodes if each.kind == "block"] == [
        (2, (56, 56)), (2, (28, 28)), (6, (14, 14)), (2, (7, 7))
    ]  # fmt: skip
    merging = [each for each in nodes if each.kind == "linear"][:3]
    assert {each.before for each in merging} == {("join 2×2 patches", "LN")}


def test_a_block_that_joins_nothing_is_one_where_its_neighbours_are():
    nodes = found("mobilenetv2_100").overview.nodes
    assert [each.does for each in nodes if each.kind == "block"] == ["DepthwiseSeparable", *["InvertedResidual"] * 16]


def test_attention_that_is_written_out_equals_the_fused_one():
    class Attention(nn.Module):
        def __init__(self, fused: bool) -> None:
            super().__init__()
            self.fused = fused
            self.qkv, self.out = nn.Linear(24, 72), nn.Linear(24, 24)

        def forward(self, x: Tensor) -> Tensor:
            query, key, value = self.qkv(x).unflatten(2, (3, 4, 6)).permute(2, 0, 3, 1, 4).unbind()
            if self.fused:
                y = F.scaled_dot_product_attention(query, key, value)
            else:
                y = ((query * 6**-0.5) @ key.transpose(-2, -1)).softmax(-1) @ value
            return x + self.out(y.transpose(1, 2).flatten(2))

    fused, written = (of(Attention(fused), 10, 24, batch=2).overview for fused in (True, False))
    assert [(n.kind, n.does, str(n.extent)) for n in fused.nodes] == [
        (n.kind, n.does, str(n.extent)) for n in written.nodes
    ]
    assert fused.edges == written.edges
    assert kinds(fused) == ["input", "linear", "attention", "linear", "add"]


def test_mixing_over_tokens_lies_between_two_transpositions():
    (block,) = found("timm:mixer_s32_224").insides
    words = [each.does for each in block.graph.nodes]
    assert words.count("transpose") == 2
    assert words[words.index("transpose") + 1] == "linear 49 → 256"
    assert total("timm:mixer_s32_224", "add") == 16


def test_a_learned_scale_belongs_to_the_layer_before_it():
    (block,) = found("timm:convnext_atto").insides
    assert block.graph.nodes[3].after == ("× gamma",)
    assert [str(each.extent) for each in block.graph.nodes[:3]] == ["40 × 56 × 56", "40 × 56 × 56", "160 × 56 × 56"]


# Folding


def test_vgg_folds_into_its_table():
    nodes = folded(found("vgg16").overview).nodes
    assert [(each.count, each.extent.channels) for each in nodes if each.kind == "convolution"] == [
        (2, 64), (2, 128), (3, 256), (3, 512), (3, 512)
    ]  # fmt: skip


def test_runs_of_several_nodes_fold_too():
    graph = folded(found("timm:convmixer_768_32").overview)
    assert graph.repeats == ((2, 3, 32),)
    assert len(graph.nodes[2].paths) == len(graph.nodes[3].paths) == 32


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "timm:convmixer_768_32", "swin_t", "densenet121"])
def test_folding_loses_no_node(name: str):
    whole, short = found(name).overview, folded(found(name).overview)
    paths = [path for each in short.nodes for path in each.paths or (each.path,)]
    assert sorted(paths) == sorted(each.path for each in whole.nodes)


# Users' networks


class Written(nn.Module):
    """A residual network without any module inside but its head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)
        self.filters = nn.ParameterList([nn.Parameter(torch.zeros(8, 8, 3, 3)) for _ in range(4)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for first, second in ((0, 1), (2, 3)):
            x = x + F.conv2d(F.relu(F.conv2d(x, self.filters[first], padding=1)), self.filters[second], padding=1)
        return self.head(x.mean((2, 3)))


def test_functional_calls_are_nodes_like_layers():
    graph = of(Written(), 3, 16, 16).overview
    assert kinds(graph) == ["input", "convolution", *["convolution", "convolution", "add"] * 2, "pool", "linear"]
    first, second = (number for number, each in enumerate(graph.nodes) if each.kind == "add")
    assert sorted(graph.into(first)) == [1, 3]
    assert sorted(graph.into(second)) == [first, 6]


def test_a_graph_does_not_depend_on_the_batch():
    one, four = (of(Written(), 3, 16, 16, batch=batch).overview for batch in (1, 4))
    assert one == four


def test_an_in_place_sum_is_a_sum():
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            y += x
            return y.relu_()

    graph = of(InPlace(), 4, 8, 8).overview
    assert [(each.kind, each.after) for each in graph.nodes[1:]] == [("convolution", ()), ("add", ("ReLU",))]
    assert sorted(graph.into(2)) == [0, 1]


def test_an_activation_of_several_operations_is_one_node():
    class Swish(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(x)

    graph = of(nn.Sequential(nn.Conv2d(3, 4, 1), Swish()), 3, 8, 8).overview
    assert [(each.does, each.after) for each in graph.nodes[1:]] == [("1×1 conv, 4", ("Swish",))]


def test_what_the_images_do_not_reach_is_left_out():
    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.linear = nn.Parameter(torch.zeros(4)), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.linear(torch.tanh(self.table))

    graph = of(Biased(), 4).overview
    assert kinds(graph) == ["input", "scale"]
    assert graph.edges == ((0, 1),)


def test_a_block_that_is_nearly_everything_is_opened():
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1) for _ in range(20)])

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = x + layer(x)
            return x

    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Body()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.body(x)
            return y

    assert kinds(of(Wrapper(), 4, 8, 8).overview).count("add") == 20


def test_steps_of_a_recurrent_layer_are_one_node():
    graph = of(nn.Sequential(nn.Linear(4, 4), Last(nn.LSTM(4, 4, batch_first=True))), 40, 4).overview
    assert "LSTM" in [each.does for each in graph.nodes]
    assert len(graph.nodes) < 5


class Last(nn.Module):
    """The last output of a recurrent layer."""

    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)[0][:, -1]
        return y


def test_nothing_is_found_in_a_network_that_computes_nothing():
    assert of(nn.Identity(), 3, 4, 4).overview.nodes == ()


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "densenet121", "swin_t", "timm:vit_tiny_patch16_224"])
def test_edges_lead_forwards_and_every_node_is_reached(name: str):
    graphs = [found(name).overview, *(each.graph for each in found(name).insides)]
    for graph in graphs:
        assert all(start < end for start, end in graph.edges)
        nodes: tuple[Node, ...] = graph.nodes
        assert [each.kind for number, each in enumerate(nodes) if not graph.into(number)] == ["input"]
        assert len([number for number in range(len(nodes)) if not graph.out_of(number)]) == 1
