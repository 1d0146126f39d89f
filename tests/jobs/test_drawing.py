"""`jobs.draw`: from a name to a file."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from neocog.errors import UnknownNameError, UsageError
from neocog.jobs.drawing import draw, file_name


def test_a_network_of_the_catalog_is_drawn(tmp_path: Path):
    drawn = draw("resnet20", out=tmp_path / "net.svg", size=48)
    assert drawn.figure == tmp_path / "net.svg"
    assert drawn.subject.image == (3, 48, 48)
    assert "3 × 48 × 48" in ElementTree.parse(drawn.figure).getroot().find(".//{*}desc").text  # type: ignore[union-attr, operator]


def test_a_users_network_is_drawn_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    source = "from torch import nn\ndef tiny():\n    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())\n"
    Path("my_drawn_nets.py").write_text(source)
    assert draw("my_drawn_nets:tiny", image=(1, 9, 9)).figure == Path("tiny.svg")
    assert (tmp_path / "tiny.svg").stat().st_size > 1000


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("resnet50", "resnet50.svg"),
        ("runs/photos/model.safetensors", "model.svg"),
        ("my.nets:Outer.make", "Outer.make.svg"),
        ("x:..", "network.svg"),
    ],
)
def test_a_file_is_named_after_its_network(spec: str, name: str):
    assert file_name(spec) == name


def test_what_cannot_be_is_refused_before_anything_is_run(tmp_path: Path):
    with pytest.raises(UnknownNameError, match="unknown level 'blocks'; did you mean block"):
        draw("no_such_network", level="blocks")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"\.svg"):
        draw("no_such_network", out=tmp_path / "net.pdf")
    with pytest.raises(UsageError, match="did you mean"):
        draw("resnet5O", out=tmp_path / "net.svg")
    with pytest.raises(UsageError, match="takes images"):
        draw("mobilenetv2_100", out=tmp_path / "net.svg", image=(7, 32, 32))
    assert list(tmp_path.iterdir()) == []
