"""The environment is told in plain types, without importing anything for it."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata

import torch

from neocog import _version
from neocog.train import environment
from neocog.train.environment import describe_environment, processor


def test_it_holds_versions_and_machine_and_goes_into_json() -> None:
    described = json.loads(json.dumps(describe_environment()))
    assert described["neocog"] == _version.__version__
    assert described["python"] == platform.python_version()
    assert described["packages"]["torch"] == metadata.version("torch")
    assert described["threads"] == torch.get_num_threads()
    assert described["cores"] == len(os.sched_getaffinity(0))
    assert isinstance(described["computes_in_bf16"], bool)
    assert len(described["gpus"]) == torch.cuda.device_count()
    assert described["memory_gib"] > 0.1


def test_a_library_that_is_not_installed_has_no_version(monkeypatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("torch", "no-such-library"))
    assert describe_environment()["packages"]["no-such-library"] is None


def test_the_processor_is_known_everywhere() -> None:
    assert processor()
