"""Drawings of networks: well-formed, complete, and with every text where it can be read."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
import svg_reading as reading
import timm
import torch
import torchvision.models as vision
from torch import Tensor, nn

from neocog.analysis.blank import without_numbers
from neocog.analysis.graph import Anatomy, anatomy
from neocog.analysis.record import Trace
from neocog.analysis.trace import trace_forward
from neocog.errors import StorageError, UnknownNameError, UsageError
from neocog.models import create_model
from neocog.visualize._svg import text_width, wrap
from neocog.visualize.drawing import draw, picture

OURS = ("lenet5", "lenet5_1998", "resnet18", "resnet50", "plain20", "resnet20", "resnetv2_50", "resnetv2_110",
        "mobilenetv2_100")  # fmt: skip
THEIRS = ("vgg16", "alexnet", "googlenet", "densenet121", "shufflenet_v2_x0_5")  # torchvision's
TIMMS = ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto", "coatnet_0_rw_224", "mixer_s32_224",
         "efficientnet_b0", "convmixer_768_32", "hrnet_w18_small")  # fmt: skip
SMALL = ("plain20", "resnet20", "resnetv2_110")
ALL = (*OURS, *THEIRS, *TIMMS)


@cache
def traced(name: str) -> Trace:
    with without_numbers():
        if name in OURS:
            network = create_model(name)
        elif name in THEIRS:
            network = getattr(vision, name)(**({"init_weights": False} if name == "googlenet" else {}))
        else:
            network = timm.create_model(name)
    small = {"lenet5": (1, 32, 32), "lenet5_1998": (1, 32, 32), **dict.fromkeys(SMALL, (3, 32, 32))}
    return trace_forward(network.eval(), small.get(name, (3, 224, 224)), name=name)


@cache
def found(name: str) -> Anatomy:
    return anatomy(traced(name))


@cache
def page(name: str) -> reading.Page:
    return reading.read(picture(traced(name)))


def groups(drawn: reading.Page, kind: str) -> list[ElementTree.Element]:
    return [each for each in drawn.root.iter(f"{reading.SVG}g") if kind in (each.get("class") or "").split()]


@pytest.mark.parametrize("name", ALL)
def test_texts_neither_overlap_nor_leave_the_page_nor_lie_under_lines(name: str):
    drawn = page(name)
    assert len(drawn.texts) > 20
    assert reading.overlaps(drawn) == []
    assert reading.cut_off(drawn) == []
    assert reading.struck(drawn) == []
    assert reading.split_by_edge(drawn) == []


@pytest.mark.parametrize("name", ALL)
def test_every_kind_of_block_appears_in_the_row_and_from_the_inside(name: str):
    drawn = page(name)
    words = " ".join(each.text for each in drawn.texts)
    joined = words.replace(" ", "")  # long names are broken
    kinds = {each.kind for each in found(name).insides}
    assert all(kind in joined for kind in kinds)
    assert len(groups(drawn, "inset")) == len(found(name).insides)
    for path in (node.path for node in found(name).overview.nodes if node.kind in ("convolution", "linear")):
        first = path.split(".")[0]
        assert first in joined


@pytest.mark.parametrize(
    "name", ["resnet50", "googlenet", "densenet121", "efficientnet_b0", "swin_tiny_patch4_window7_224"]
)
def test_an_inset_has_the_signs_and_boxes_of_its_graph(name: str):
    for inset, inside in zip(groups(page(name), "inset"), found(name).insides, strict=True):
        drawn = [each.get("class", "").split() for each in inset.iter(f"{reading.SVG}g")]
        kinds = [kind for first, *kind in (words for words in drawn if words) if first == "node"]
        assert [kind for (kind,) in kinds] == [node.kind for node in inside.graph.nodes]
        arrows = len(list(inset.iter(f"{reading.SVG}path")))
        assert arrows == len(inside.graph.edges)


@pytest.mark.parametrize("name", ["resnet50", "vgg16", "hrnet_w18_small"])
def test_a_block_each_is_drawn_on_request(name: str):
    drawn = reading.read(picture(traced(name), "block"))
    assert len(groups(drawn, "unit")) == len(found(name).overview.nodes)
    assert reading.overlaps(drawn) == reading.cut_off(drawn) == reading.struck(drawn) == []


def test_a_deep_network_is_one_readable_picture():
    drawn = page("resnetv2_110")
    assert drawn.width < 1500
    assert drawn.height < 1000
    assert any("18 × PreActBasicBlock" in each.text for each in drawn.texts)


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_the_same_network_gives_the_same_bytes(name: str, tmp_path: Path):
    files = [draw(traced(name), tmp_path / f"{number}.svg") for number in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_shapes_parameters_and_operations_are_written():
    words = [each.text for each in page("resnet18").texts]
    assert {"7×7 conv, 64, /2", "64 × 112 × 112", "512 × 7 × 7", "linear 512 → 1000", "2 × BasicBlock"} <= set(words)
    assert "input 3 × 224 × 224 · 11.7 M parameters · 1.81 G multiply-adds (MACs)" in words


def test_it_can_be_read_aloud():
    root = page("googlenet").root
    named = root.get("aria-labelledby", "").split()
    title, description = (next(each for each in root.iter() if each.get("id") == label) for label in named)
    assert root.get("role") == "img"
    assert "googlenet" in (title.text or "")
    assert "3 times Inception (inception4a – inception4c) giving 512 × 14 × 14" in (description.text or "")


def test_names_are_escaped_and_shortened():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("conv<b>&\"'", nn.Conv2d(4, 4, 3, padding=1))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = x + self._modules["conv<b>&\"'"](x)  # type: ignore[misc]
            return y

    Block.__name__ = "<script>\x1b" + "Très" * 40
    network = nn.Sequential(nn.Conv2d(3, 4, 1), Block(), Block())
    svg = picture(trace_forward(network, (3, 8, 8), name="a<b>&c]]>"))
    drawn = reading.read(svg)
    assert "<script>" not in svg
    assert "<b>" not in svg
    words = [each.text for each in drawn.texts]
    assert "a<b>&c]]>" in words
    assert any("conv<b>&\"'" in word for word in words)
    assert drawn.width < 1600
    assert reading.overlaps(drawn) == reading.cut_off(drawn) == []


def test_towers_stand_one_below_the_other():
    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.a(x) * self.b(x)
            return y

    drawn = reading.read(picture(trace_forward(Towers(), (3, 16, 16))))
    places = {each.text: each.box for each in drawn.texts}
    assert places["b.0"][1] > places["a.0"][3]
    assert abs(places["b.0"][0] - places["a.0"][0]) < 1
    assert reading.overlaps(drawn) == reading.struck(drawn) == []


@pytest.mark.parametrize("bold", [False, True])
@pytest.mark.parametrize(
    "text", ["3×3 depthwise, 144, /2", "InvertedResidual", "layers.1.downsample", "1024 × 14 × 14"]
)
def test_widths_of_texts_are_those_of_the_font(text: str, bold: bool):
    wide = 10 * reading.measured(text, bold)
    assert 0.98 * wide < text_width(text, 10, bold=bold) < 1.08 * wide


def test_long_words_are_broken_where_their_parts_meet():
    assert wrap("2 SwinTransformerBlock", 10, 90) == ["2", "SwinTransformer", "Block"]
    assert wrap("stages.0.blocks", 10, 60) == ["stages.0.", "blocks"]
    assert "".join(wrap("x" * 100, 10, 60)) == "x" * 100


def test_a_level_or_format_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(UnknownNameError, match="unknown level 'stages'; did you mean stage"):
        draw(traced("lenet5"), tmp_path / "a.svg", "stages")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"ends in \.svg, not .*a\.png"):
        draw(traced("lenet5"), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        draw(traced("lenet5"), tmp_path / "file" / "a.svg")


def test_a_network_that_computes_nothing_is_refused():
    with pytest.raises(UsageError, match="nothing to draw"):
        picture(trace_forward(nn.Identity(), (3, 4, 4)))


class LargerHalf(nn.Module):
    """Maxout of two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(self.one(x), self.other(x))


def test_what_joins_branches_otherwise_than_by_a_sum_is_written_in_its_sign():
    drawn = reading.read(picture(trace_forward(nn.Sequential(LargerHalf(), nn.Conv2d(4, 4, 1)), (3, 16, 16))))
    assert [each.text for each in drawn.texts].count("max") == 1
    assert reading.overlaps(drawn) == reading.struck(drawn) == []
    mixed = reading.read(picture(trace_forward(create_model("highway_mlp_10"), (1, 28, 28))))
    assert [each.text for each in mixed.texts].count("mix") == 1


def test_every_other_channel_is_no_pixel():
    words = [each.text for each in reading.read(picture(trace_forward(create_model("fitnet1"), (3, 32, 32)))).texts]
    assert "every 2nd channel" in words
    assert not any("pixel" in word for word in words)
