"""Weights are found on this machine first, then on the hub, and their absence is one clear line."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from neocog.catalog import _fetch, fetch_weights, find_weights, local_file, weights_at_hand
from neocog.errors import UnknownNameError, WeightsError

HUB_FILE = "timm/mobilenetv2_100.ra_in1k/model.safetensors"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """A server on this machine that speaks the hub's protocol.

    Its `files` are by "owner/name/file", and `requests` is what was asked for. `delay` keeps the client waiting that
    many seconds, and a `broken` hub fails in the middle of every file.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.delay = 0.0
        self.broken = False


@contextmanager
def running_hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Hub]:
    """Point the hub's client at a server on this machine and at an empty cache."""
    import huggingface_hub.constants as constants

    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            time.sleep(hub.delay)
            body = hub.files.get(self.path.lstrip("/").replace("/resolve/main/", "/"))
            self.send_response(404 if body is None else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            if body is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            else:
                self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if with_body and body and not hub.broken:
                self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("NEOCOG_WEIGHTS", raising=False)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


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
