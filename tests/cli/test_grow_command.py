from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from neocog import jobs
from neocog.jobs.growing import Grown

Command = Callable[..., SimpleNamespace]


def test_what_was_copied_and_where_the_file_is_are_said(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def grow(*arguments: object, **settings: object) -> Grown:
        asked.extend([*arguments, settings])
        return Grown(Path("deep.safetensors"), ("features.0", "head.fc"))

    monkeypatch.setattr(jobs, "grow", grow)
    done = command("grow", "small.safetensors", "vgg16", "-o", "deep.safetensors", "--seed", "3")
    assert asked == ["small.safetensors", "vgg16", {"out": Path("deep.safetensors"), "seed": 3}]
    assert done.out.splitlines() == ["copied  features.0, head.fc", "model   deep.safetensors"]


def test_a_file_that_is_not_there_is_one_line(command: Command) -> None:
    done = command("grow", "absent.safetensors", "vgg16")
    assert (done.code, done.out) == (4, "")
    assert "absent.safetensors" in done.err
