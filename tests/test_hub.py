"""A hub that cannot be had is known within seconds, and not waited for again and again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from local_hub import Hub, running_hub

from neocog import _hub
from neocog._hub import hub_refusal

CLOSED = "http://127.0.0.1:9"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with running_hub(monkeypatch, tmp_path / "cache") as hub:
        yield hub


def test_any_answer_tells_that_the_hub_is_there(hub: Hub) -> None:
    assert hub_refusal() is None  # though it has no such page
    assert len(hub.requests) == 1


def test_what_a_hub_refuses_is_said_and_asked_again(hub: Hub) -> None:
    from huggingface_hub import get_hf_file_metadata

    def ask() -> object:
        return get_hf_file_metadata(f"{_hub.hub_address()}/owner/name/resolve/main/file")

    assert hub_refusal(ask) == "the hub answered 404"
    hub.files["owner/name/file"] = b"here now"
    assert hub_refusal(ask) is None


def test_a_hub_out_of_reach_is_asked_once_a_minute(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", CLOSED)
    asked: list[int] = []

    def ask() -> None:
        asked.append(1)
        raise ConnectionRefusedError("nobody is there\nat all")

    assert [hub_refusal(ask) for _ in range(3)] == ["nobody is there"] * 3
    assert len(asked) == 1
    now = _hub.time.monotonic()
    monkeypatch.setattr(_hub.time, "monotonic", lambda: now + 61)
    assert hub_refusal(ask) == "nobody is there"
    assert len(asked) == 2


def test_a_silent_hub_is_given_up_on_and_the_impatient_decide_for_themselves_only(hub: Hub) -> None:
    hub.delay = 1.0
    assert hub_refusal(timeout=0.1) == "no answer within 0.1 s"
    hub.delay = 0.0
    assert hub_refusal() is None


def test_offline_mode_asks_nobody(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "offline mode" in str(hub_refusal())
    assert hub.requests == []
