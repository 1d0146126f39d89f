"""`neocog draw`."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest


def test_a_drawing_is_written_and_named(command, tmp_path: Path):
    done = command("draw", "resnet20", "-o", str(tmp_path / "net.svg"), "--image-size", "48", "--level", "block")
    assert done.code == 0
    assert done.out == f"figure  {tmp_path / 'net.svg'}\n"
    assert "3 × 48 × 48" in ElementTree.parse(tmp_path / "net.svg").getroot().find(".//{*}desc").text  # type: ignore[union-attr, operator]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("resnet5O",), 2, "did you mean"),
        (("lenet5", "--level", "stages"), 2, "stages"),
        (("lenet5", "-o", "picture.png"), 2, "ends in .svg"),
        (("lenet5", "-o", "/proc/nowhere/net.svg"), 6, "cannot write /proc/nowhere/net.svg"),
        (("lenet5", "--image-size", "4"), 2, "lenet5"),
        (("math:sqrt",), 2, "math:sqrt"),
    ],
)
def test_what_cannot_be_drawn_gets_one_line(command, tmp_path, monkeypatch, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    done = command("draw", *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
