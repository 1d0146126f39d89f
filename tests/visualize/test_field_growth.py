"""How fields grow, drawn as a curve."""

from __future__ import annotations

from pathlib import Path

from field_helpers import Gated, written
from figure_pixels import near
from torch import nn

from neocog.analysis.receptive_field import Fields, receptive_fields
from neocog.analysis.trace import trace_forward
from neocog.visualize import field_growth, style
from neocog.visualize.field_growth import growth


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
    curve, beside = field_growth._changing(rows)
    assert [(row.name, row.size[0], row.smallest[0]) for row in curve] == [("wide", 9, 9), ("join", 9, 1)]
    assert [size for _, size in beside] == [1]


def test_layers_that_change_nothing_are_left_out():
    network = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 3))
    curve, _ = field_growth._changing(receptive_fields(trace_forward(network, (3, 32, 32))).rows)
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
