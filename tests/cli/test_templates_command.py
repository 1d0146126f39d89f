"""`neocog templates` from words on a command line to a picture."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_the_picture_is_written_and_named(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("templates", "linear_mnist")
    assert done.code == 0
    assert done.out == "figure  templates.png\nlayer   fc, 10 templates\n"
    assert (tmp_path / "templates.png").is_file()


def test_options_reach_the_job(command, job):
    from types import SimpleNamespace

    calls = job("templates", SimpleNamespace(layer="fc", names=("a", "b"), figure=Path("t.svg")))
    assert command("templates", "model.safetensors", "-o", "t.svg").code == 0
    assert calls == [(("model.safetensors",), {"out": Path("t.svg")})]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["resnet20"], 2, "not the whole image"),
        (["linear_cifar"], 2, "did you mean linear_cifar10"),
        (["linear_mnist", "-o", "t.xyz"], 2, "not t.xyz"),
        (["nowhere.safetensors"], 4, "nowhere.safetensors"),
    ],
)
def test_what_cannot_be_drawn_gets_one_line(command, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    done = command("templates", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
