"""`neocog filter` from words on a command line to a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neocog.cli.filter import KINDS, complete_kind


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)).save(path)
    return path


def test_the_picture_is_written_where_one_stands(command, tmp_path, photograph, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("filter", str(photograph), "--kind", "sobel", "--kind", "sharpen")
    assert done.code == 0
    assert done.out == "figure  filtered.png\nfilters sobel, sharpen, of 40x60 pixels\n"
    with Image.open(tmp_path / "filtered.png") as picture:
        assert picture.width > 1000


def test_options_reach_the_job(command, job, photograph):
    from types import SimpleNamespace

    calls = job("filter_image", SimpleNamespace(kinds=("log",), size=(10, 20), figure=Path("log.svg")))
    assert command("filter", str(photograph), "--kind", "log", "-o", "log.svg", "--size", "200").code == 0
    assert calls == [((photograph, ["log"]), {"out": Path("log.svg"), "size": 200})]
    command("filter", str(photograph))
    assert calls[1] == ((photograph, None), {"out": Path("filtered.png"), "size": 448})


def test_the_kinds_that_are_offered_are_those_there_are():
    from neocog.jobs.filtering import KINDS as KNOWN
    from neocog.jobs.filtering import SIDE

    assert tuple(KNOWN) == KINDS
    assert SIDE == 448
    assert complete_kind("s") == ["sobel", "sharpen"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["photo.jpg", "--kind", "gabour"], 2, "unknown filter 'gabour'; did you mean gabor"),
        (["photo.jpg", "-o", "filtered.xyz"], 2, "not filtered.xyz"),
        (["photo.jpg", "--size", "3"], 2, "not 3"),
        (["photo.jpg", "--size", "many"], 2, "--size"),
        (["nowhere.jpg"], 3, "nowhere.jpg: there is no such file"),
        (["page.jpg"], 3, "page.jpg: not an image"),
        ([], 2, "PHOTO"),
    ],
)
def test_what_cannot_be_done_is_one_line(command, tmp_path, photograph, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.jpg").write_text("<html>")
    done = command("filter", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "filtered.png").exists()


@pytest.mark.parametrize("how", ["the same name", "a link", "another way there"])
def test_the_photograph_is_not_overwritten(command, tmp_path, photograph, job, how):
    import os

    before, out = photograph.read_bytes(), photograph
    if how == "a link":
        out = tmp_path / "link.jpg"
        os.link(photograph, out)
    elif how == "another way there":
        (tmp_path / "folder").mkdir()
        out = tmp_path / "folder" / ".." / "photo.jpg"
    calls = job("filter_image", None)
    done = command("filter", str(photograph), "-o", str(out))
    assert (done.code, done.out, calls) == (2, "", [])
    assert f"--out {out} is the photograph" in done.err
    assert done.err.count("\n") == 1
    assert photograph.read_bytes() == before


def test_it_explains_itself_with_an_example(command):
    shown = command("filter", "--help")
    assert shown.code == 0
    assert "neocog filter photo.jpg --kind gabor" in shown.out.partition("Example")[2]
