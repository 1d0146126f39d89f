"""What a layer sees, drawn on a photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from field_helpers import Gated, written
from figure_pixels import near, orange, pixels
from PIL import Image
from torch import nn

from neocog.analysis.effective_field import effective_field
from neocog.analysis.receptive_field import receptive_fields
from neocog.analysis.trace import trace_forward
from neocog.visualize.receptive_field import draw


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
