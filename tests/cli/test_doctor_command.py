from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from neocog.cli import _machine
from neocog.cli.doctor import advise, describe

Command = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_machine, "SECONDS_PER_SPEED", 0.01)
        patch.setenv("HF_HUB_OFFLINE", "1")
        return _machine.examine()


def test_the_machine_is_described_in_plain_types(found: dict[str, Any]) -> None:
    assert json.loads(json.dumps(found)) == found
    assert found["cores"] >= 1
    assert 0 < found["memory_free_gib"] <= found["memory_gib"]
    assert found["decoders"]["jpeg"]
    assert found["hub"].startswith("offline by choice")
    assert all(speed > 0 for work in found["speed"].values() for speed in work.values())


def test_every_finding_has_a_line(found: dict[str, Any]) -> None:
    labels = [label for label, _ in describe(found)]
    for label in ("neocog", "processor", "bf16", "GPUs", "memory", "disk", "hub", "weights", "matmul", "convolution"):
        assert label in labels


def test_the_command_succeeds_and_json_is_one_document(
    command: Command, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_machine, "examine", lambda: found)
    assert command("doctor").code == 0
    told = json.loads(command("doctor", "--json").out)
    assert told["advice"] == advise(found)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"disk_free_gib": 0.5}, "disk"),
        ({"memory_free_gib": 1.0}, "--batch-size"),
        ({"shared_memory_gib": 0.06}, "/dev/shm"),
        ({"core_quota": 1.5, "cores": 64}, "--set threads=2"),
        ({"weights_here": [], "hub": "not reachable"}, "NEOCOG_WEIGHTS"),
        ({"weights_folder": "/nowhere/at/all"}, "/nowhere/at/all"),
        ({"packages": {"torch": "2.15.0", "datasets": None}}, "pip install datasets"),
        ({"decoders": {"jpeg": False, "png": True}}, "Pillow cannot read jpeg"),
    ],
)
def test_a_shortage_leads_to_advice(found: dict[str, Any], change: dict[str, Any], word: str) -> None:
    healthy = {
        "disk_free_gib": 99.0, "memory_free_gib": 64.0, "shared_memory_gib": 32.0, "core_quota": None,
        "weights_here": ["resnet50"], "hub": "reachable", "weights_folder": None, "gpus": [{"name": "x"}],
    }  # fmt: skip
    assert advise({**found, **healthy}) == []
    (line,) = advise({**found, **healthy, **change})
    assert word in line


def test_weights_in_the_named_folder_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mobilenetv2_100.ra_in1k.safetensors").touch()
    monkeypatch.setenv("NEOCOG_WEIGHTS", str(tmp_path))
    assert _machine.weights_folder() == str(tmp_path)
    assert "mobilenetv2_100" in _machine.weights_here()


def test_a_hub_that_refuses_is_reachable_and_a_closed_port_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    import http.server
    import threading

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("neocog._hub._unreachable", {})
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        assert _machine.hub_state() == "reachable"
        server.shutdown()
    assert _machine.hub_state() == "not reachable"
