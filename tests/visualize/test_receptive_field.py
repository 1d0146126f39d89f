"""What a layer sees, drawn on a photograph; and how fields grow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from figure_pixels import near, orange, pixels
from PIL import Image
from torch import nn

from neocog.analysis.effective_field import effective_field
from neocog.analysis.receptive_field import Fields, receptive_fields
from neocog.analysis.trace import trace_forward
from neocog.visualize import receptive_field as module
from neocog.visualize import style
from neocog.visualize.receptive_field import draw, growth


class Gated(nn.Module):
    """A convolution, a gate that sees everything, another convolution, and a pooled head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(4, 4), nn.Conv2d(4, 4, 5, 2, 2)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.first(x)
        x = x * self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]
        return self.head(self.second(x).mean((2, 3)))


def seen(network: nn.Module, layer: str, size: tuple[int, int] = (48, 48)):
    torch.manual_seed(0)
    field = receptive_fields(trace_forward(network, (3, *size))).of(layer)
    return field, effective_field(network, layer, torch.randn(2, 3, *size), field=field)


@pytest.fixture
def photograph() -> Image.Image:
    return Image.fromarray(np.full((96, 96, 3), (90, 150, 60), np.uint8))


def test_what_is_not_seen_fades_and_the_square_stands_around_the_rest(tmp_path: Path, photograph):
    field, effective = seen(nn.Sequential(nn.Conv2d(3, 4, 9, padding=4), nn.Conv2d(4, 4, 9, padding=4)), "1")
    path = draw(photograph, field, effective, tmp_path / "field.png", network="net")
    height, width, _ = pixels(path).shape
    assert width > 1.5 * height
    clear, faded = near(path, "#5a963c"), near(path, "#c0d7b5")
    assert field.size == (17, 17)
    # 17 of 48 pixels a side are seen; its edges and the cross cover a little of them.
    assert clear / (clear + faded) == pytest.approx((17 / 48) ** 2, rel=0.25)
    assert orange(path).sum() > 500


def test_a_field_beyond_the_image_is_clipped_and_nothing_fades(tmp_path: Path, photograph, monkeypatch):
    texts = written(monkeypatch)
    field, effective = seen(nn.Sequential(*[nn.Conv2d(3, 3, 5, 2, 2) for _ in range(5)]), "4")
    path = draw(photograph, field, effective, tmp_path / "field.png")
    assert near(path, "#c0d7b5") == 0
    assert field.size == (125, 125)
    assert any("125 × 125 pixels, more than the image" in text for text in texts)


def test_the_title_states_both_sizes(tmp_path: Path, photograph, monkeypatch):
    texts = written(monkeypatch)
    field, effective = seen(nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(8)]), "7")
    draw(photograph, field, effective, tmp_path / "field.png", network="net")
    side = f"{effective.side95:g}"
    assert f"7 of net can see 17 × 17 pixels and listens to {side} × {side}" in texts
    assert f"95 %: {side} pixels a side" in texts


def test_a_layer_that_sees_everything_needs_no_square(tmp_path: Path, monkeypatch):
    texts = written(monkeypatch)
    field, effective = seen(Gated(), "head", size=(40, 56))
    draw(None, field, effective, tmp_path / "field.svg")
    assert any("can see everything and listens to" in text for text in texts)
    assert (tmp_path / "field.svg").read_text().startswith("<?xml")


def test_fields_grow_along_a_line_and_outgrow_the_image(tmp_path: Path, monkeypatch):
    texts = written(monkeypatch)
    fields = receptive_fields(trace_forward(nn.Sequential(*[nn.Conv2d(3, 3, 5, 2, 2) for _ in range(4)]), (3, 48, 48)))
    path = growth(fields, tmp_path / "growth.png", image=(3, 48, 48), network="net")
    assert near(path, style.BLUE) > 300
    assert near(path, style.GREEN) == 0
    assert "net: the receptive field grows to 61 × 61 pixels at 3, and is larger than the image from 3 on" in texts
    assert "the image: 48 pixels" in texts


def test_paths_that_see_everything_are_marked_beside_the_line(tmp_path: Path, monkeypatch):
    texts = written(monkeypatch)
    fields = receptive_fields(trace_forward(Gated(), (3, 64, 64)))
    path = growth(fields, tmp_path / "growth.png", image=(3, 64, 64))
    assert near(path, style.GREEN) > 50
    assert (
        "the receptive field grows to 11 × 11 pixels at second, beside paths that see everything from gate on" in texts
    )


def test_branches_open_a_band_and_the_line_never_falls():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.narrow, self.join = nn.Conv2d(3, 3, 9, padding=4), nn.Conv2d(3, 3, 1), nn.Identity()

        def forward(self, x):
            return self.join(self.wide(x) + self.narrow(x))

    rows = receptive_fields(trace_forward(Branches(), (3, 32, 32))).rows
    curve, beside = module._changing(rows)
    assert [(row.name, row.size[0], row.smallest[0]) for row in curve] == [("wide", 9, 9), ("join", 9, 1)]
    assert [size for _, size in beside] == [1]


def test_layers_that_change_nothing_are_left_out():
    network = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 3))
    curve, _ = module._changing(receptive_fields(trace_forward(network, (3, 32, 32))).rows)
    assert [row.name for row in curve] == ["0", "3"]


def test_a_long_network_has_labels_for_its_parts(tmp_path: Path, monkeypatch):
    texts = written(monkeypatch)
    parts = [nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(30)]) for _ in range(3)]
    fields = receptive_fields(trace_forward(nn.Sequential(*parts), (3, 32, 32)))
    growth(fields, tmp_path / "growth.png")
    assert {"0", "1", "2"} <= set(texts)
    assert "0.1" not in texts


def test_nothing_to_draw_is_said(tmp_path: Path):
    assert growth(Fields(()), tmp_path / "growth.png").is_file()


def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that fills with the texts of the figures that are saved."""
    texts: list[str] = []
    save = style.save

    def noting(figure, path):
        from matplotlib.text import Text

        texts.extend(" ".join(text.get_text().split()) for text in figure.findobj(Text))
        return save(figure, path)

    monkeypatch.setattr(style, "save", noting)
    return texts
