"""Weights are found on this machine first, then on the hub, and their absence is one clear line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from local_hub import Hub, running_hub

from neocog.catalog import _fetch, fetch_weights, find_weights, local_file, weights_at_hand
from neocog.errors import UnknownNameError, WeightsError

HUB_FILE = "timm/mobilenetv2_100.ra_in1k/model.safetensors"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with running_hub(monkeypatch, tmp_path / "cache") as hub:
        yield hub


def test_weights_are_downloaded_once_and_then_read_from_the_cache(hub: Hub) -> None:
    hub.files[HUB_FILE] = b"weights"
    weights = find_weights("mobilenetv2_100", "ra_in1k")
    assert local_file(weights) is None
    path = fetch_weights(weights)
    assert path.read_bytes() == b"weights"
    assert local_file(weights) == path
    asked = len(hub.requests)
    assert fetch_weights(weights) == path
    assert len(hub.requests) == asked


def test_a_hub_without_the_file_is_one_line_that_says_what_to_do(hub: Hub) -> None:
    with pytest.raises(WeightsError) as raised:
        fetch_weights(find_weights("mobilenetv2_100", "ra_in1k"))
    message = str(raised.value)
    assert "timm/mobilenetv2_100.ra_in1k" in message
    assert "404" in message
    assert "NEOCOG_WEIGHTS" in message
    assert "\n" not in message


def test_an_unreachable_hub_is_one_line_that_says_what_to_do(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"cannot fetch timm/mobilenetv2_100\.ra_in1k") as raised:
        fetch_weights(find_weights("mobilenetv2_100", "ra_in1k"))
    assert "mobilenetv2_100.ra_in1k.safetensors" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_offline_mode_is_respected(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.files[HUB_FILE] = b"weights"
    assert not weights_at_hand("mobilenetv2_100")
    with pytest.raises(WeightsError, match="offline mode"):
        fetch_weights(find_weights("mobilenetv2_100", "ra_in1k"))
    assert not hub.requests


def test_a_download_that_breaks_off_is_one_line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits between its attempts
    hub.files[HUB_FILE] = b"weights"
    hub.broken = True
    with pytest.raises(WeightsError) as raised:
        fetch_weights(find_weights("mobilenetv2_100", "ra_in1k"))
    assert "\n" not in str(raised.value)
    assert "mobilenetv2_100.ra_in1k" in str(raised.value)


def test_weights_are_at_hand_when_the_hub_answers_without_downloading(hub: Hub) -> None:
    assert not weights_at_hand("mobilenetv2_100")
    hub.files[HUB_FILE] = b"weights"
    assert weights_at_hand("mobilenetv2_100")
    assert local_file(find_weights("mobilenetv2_100", "ra_in1k")) is None
    assert not any(request.startswith("GET") for request in hub.requests if HUB_FILE in request)


def test_cached_weights_are_at_hand_without_a_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files[HUB_FILE] = b"weights"
    fetch_weights(find_weights("mobilenetv2_100", "ra_in1k"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    asked = len(hub.requests)
    assert weights_at_hand("mobilenetv2_100")
    assert len(hub.requests) == asked


def test_a_hub_that_does_not_answer_in_time_has_nothing_at_hand(hub: Hub) -> None:
    hub.files[HUB_FILE] = b"weights"
    hub.delay = 2.0
    assert not weights_at_hand("mobilenetv2_100", timeout=0.2)


def test_a_network_without_published_weights_has_none_at_hand() -> None:
    assert not weights_at_hand("lenet5")
    with pytest.raises(WeightsError, match="no trained weights of lenet5"):
        find_weights("lenet5")


def test_an_unknown_tag_names_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="ra_in1k"):
        find_weights("mobilenetv2_100", "ra_in1")


def test_a_local_folder_is_looked_at_before_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tagged = tmp_path / "mobilenetv2_100.ra_in1k.safetensors"
    tagged.write_bytes(b"mine")
    monkeypatch.setenv("NEOCOG_WEIGHTS", str(tmp_path))
    assert fetch_weights(find_weights("mobilenetv2_100", "ra_in1k")) == tagged
    assert weights_at_hand("mobilenetv2_100", "ra_in1k")
    assert not hub.requests


def test_a_local_file_of_unhubbed_weights_counts_only_with_the_right_content(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = b"the very weights"
    weights = replace(find_weights("mobilenetv2_100", "same_in1k"), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("NEOCOG_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"on no hub; set NEOCOG_WEIGHTS .* mobilenetv2_100.safetensors"):
        fetch_weights(weights)
    file = tmp_path / "mobilenetv2_100.safetensors"
    file.write_bytes(b"another trainer's weights")
    assert local_file(weights) is None
    file.write_bytes(content)
    assert fetch_weights(weights) == file


def test_default_means_what_is_on_this_machine_before_what_must_be_fetched(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    assert find_weights("mobilenetv2_100").tag == "ra_in1k"
    monkeypatch.setenv("NEOCOG_WEIGHTS", str(shared_data / "weights"))
    found = find_weights("mobilenetv2_100")
    assert found.tag == "same_in1k"
    assert found.edits == {"padding": "same"}
    assert found.mean == (0.5, 0.5, 0.5)
    hub.files[HUB_FILE] = b"weights"
    fetch_weights(find_weights("mobilenetv2_100", "ra_in1k"))
    assert find_weights("mobilenetv2_100").tag == "ra_in1k"


def test_a_file_that_changes_is_digested_again(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    first = _fetch._digest(file, 1)
    file.write_bytes(b"two")
    assert _fetch._digest(file, 1) == first
    assert _fetch._digest(file, 2) == hashlib.sha256(b"two").hexdigest()
