"""Weights that lie at a plain address are fetched whole or not at all, once, and their absence is one clear line."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from neocog.catalog import Weights, describe, fetch_weights, find_weights, local_file, weights_at_hand
from neocog.catalog._download import checkpoints, digits_in_name, download, url_refusal
from neocog.errors import StorageError, WeightsError

CONTENT = bytes(range(256)) * 5000  # more than one piece
NAME = f"net-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


class Host:
    """A server of files, and what was asked of it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.address = ""
        self.breaks_after: int | None = None
        self.knows_ranges = True
        self.delay = 0.0

    def weights(self, name: str = NAME) -> Weights:
        return replace(find_weights("alexnet", "tv_in1k"), url=f"{self.address}/models/{name}", file=name)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            asked = self.headers.get("Range", "") if host.knows_ranges else ""
            host.requests.append(f"{self.command} {self.path} {asked}".strip())
            time.sleep(host.delay)
            body = host.files.get(self.path.rpartition("/")[2])
            begin = int(asked.removeprefix("bytes=").removesuffix("-") or 0)
            if body is not None and begin >= len(body):
                self.send_error(416)
                return
            self.send_response(404 if body is None else 206 if asked else 200)
            body = (body or b"")[begin:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body[: host.breaks_after])

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr("neocog._hub._unreachable", {})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("NEOCOG_WEIGHTS", raising=False)
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def elsewhere(host: Host) -> Host:
    """A host that is not there."""
    host.address = "http://127.0.0.1:9"
    return host


@pytest.mark.parametrize("home", ["TORCH_HOME", "XDG_CACHE_HOME", "HOME"])
def test_files_are_kept_where_torch_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str) -> None:
    import torch.hub

    for variable in ("TORCH_HOME", "XDG_CACHE_HOME", "TORCH_HUB"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(home, str(tmp_path))
    assert checkpoints() == Path(torch.hub.get_dir(), "checkpoints")


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("alexnet-owt-7be5be79.pth", "7be5be79"),
        ("inception_v3_google-0cc3c7bd.pth", "0cc3c7bd"),
        ("model.safetensors", ""),
        ("net-v2.pth", ""),
    ],
)
def test_the_digest_in_a_name_is_read_as_torch_reads_it(name: str, digits: str) -> None:
    from torch.hub import HASH_REGEX

    assert digits_in_name(name) == digits
    found = HASH_REGEX.search(name)
    assert (found[1] if found and len(found[1]) >= 8 else "") == digits


def test_the_file_of_weights_with_an_address_is_the_addresss_last_part() -> None:
    weights = find_weights("alexnet", "tv_in1k")
    assert weights.url is not None
    assert weights.hub is None
    assert weights.file == weights.url.rpartition("/")[2] == "alexnet-owt-7be5be79.pth"


def test_a_file_is_fetched_once_and_then_found(host: Host) -> None:
    host.files[NAME] = CONTENT
    weights = host.weights()
    assert local_file(weights) is None
    path = fetch_weights(weights)
    assert path == checkpoints() / NAME
    assert path.read_bytes() == CONTENT
    assert [each.name for each in path.parent.iterdir()] == [NAME]
    asked = len(host.requests)
    assert fetch_weights(weights) == local_file(weights) == path
    assert len(host.requests) == asked


def test_what_torchvision_has_fetched_is_found(elsewhere: Host) -> None:
    checkpoints().mkdir(parents=True)
    (checkpoints() / NAME).write_bytes(CONTENT)
    assert fetch_weights(elsewhere.weights()).read_bytes() == CONTENT


def test_a_download_that_broke_off_is_one_line_and_is_continued(host: Host) -> None:
    host.files[NAME], host.breaks_after = CONTENT, 700_000
    with pytest.raises(WeightsError, match=rf"{NAME}: it broke off after 700000 of {len(CONTENT)} bytes; ") as raised:
        fetch_weights(host.weights())
    assert "\n" not in str(raised.value)
    assert local_file(host.weights()) is None
    host.breaks_after = None
    assert fetch_weights(host.weights()).read_bytes() == CONTENT
    assert host.requests[-1] == f"GET /models/{NAME} bytes=700000-"


def test_a_host_that_cannot_continue_begins_again(host: Host) -> None:
    host.files[NAME], host.breaks_after, host.knows_ranges = CONTENT, 700_000, False
    with pytest.raises(WeightsError, match="broke off"):
        fetch_weights(host.weights())
    host.breaks_after = None
    assert fetch_weights(host.weights()).read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"x" * 1000, CONTENT + b"more", CONTENT])
def test_what_was_left_of_another_file_does_no_lasting_harm(host: Host, left: bytes) -> None:
    host.files[NAME] = CONTENT
    part = checkpoints() / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    if len(left) < len(CONTENT):
        with pytest.raises(WeightsError, match="SHA-256"):
            fetch_weights(host.weights())
    assert fetch_weights(host.weights()).read_bytes() == CONTENT


def test_another_file_than_the_name_says_is_refused_and_not_kept(host: Host) -> None:
    host.files[NAME] = b"something else"
    with pytest.raises(WeightsError, match=f"cannot fetch .*{NAME}: what came has the SHA-256 .*, not {NAME[4:12]}"):
        fetch_weights(host.weights())
    assert list(checkpoints().iterdir()) == []


def test_where_the_whole_digest_is_known_it_is_compared_and_not_the_digits_in_the_name(host: Host) -> None:
    whole = hashlib.sha256(CONTENT).hexdigest()
    host.files[NAME] = CONTENT
    forged = replace(host.weights(), sha256=whole[:8] + "0" * 56)  # which agrees with the name
    with pytest.raises(WeightsError, match=f"{NAME}: what came has the SHA-256 {whole}, not {forged.sha256};"):
        fetch_weights(forged)
    assert list(checkpoints().iterdir()) == []
    known = replace(host.weights(), sha256=whole)
    assert fetch_weights(known).read_bytes() == CONTENT
    assert local_file(known) == checkpoints() / NAME
    assert local_file(forged) is None


def test_a_kept_file_with_another_digest_is_fetched_anew(host: Host) -> None:
    host.files[NAME] = CONTENT
    kept = checkpoints() / NAME
    kept.parent.mkdir(parents=True)
    kept.write_bytes(CONTENT[:-1])
    weights = replace(host.weights(), sha256=hashlib.sha256(CONTENT).hexdigest())
    assert local_file(weights) is None
    assert fetch_weights(weights) == kept
    assert kept.read_bytes() == CONTENT
    assert [each.name for each in kept.parent.iterdir()] == [NAME]


def test_a_host_without_the_file_is_one_line_that_says_what_to_do(host: Host) -> None:
    with pytest.raises(WeightsError) as raised:
        fetch_weights(host.weights())
    said = str(raised.value)
    assert said.startswith(f"cannot fetch {host.address}/models/{NAME}: 127.0.0.1 answered 404; ")
    assert f"put the file into a folder as {NAME} and set NEOCOG_WEIGHTS" in said
    host.files[NAME] = CONTENT
    assert fetch_weights(host.weights()).read_bytes() == CONTENT, "who answers is asked again"


def test_a_host_out_of_reach_is_one_line_and_is_not_waited_for_again(elsewhere: Host) -> None:
    for _ in range(2):
        with pytest.raises(WeightsError, match=r"cannot fetch http://127.0.0.1:9/.*refused; connect") as raised:
            fetch_weights(elsewhere.weights())
        assert "\n" not in str(raised.value)


def test_a_silent_host_is_given_up_on(host: Host) -> None:
    host.files[NAME], host.delay = CONTENT, 1.0
    assert url_refusal(f"{host.address}/{NAME}", timeout=0.1) == "no answer within 0.1 s"


def test_offline_mode_asks_no_host(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.files[NAME] = CONTENT
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="offline mode"):
        fetch_weights(host.weights())
    assert host.requests == []


def test_weights_are_at_hand_where_the_host_has_them(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neocog.catalog._fetch.find_weights", lambda name, tag: host.weights())
    assert not weights_at_hand("alexnet")
    host.files[NAME] = CONTENT
    assert weights_at_hand("alexnet")
    assert not any(request.startswith("GET") for request in host.requests)


def test_a_folder_of_ones_own_is_looked_at_first(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEOCOG_WEIGHTS", str(tmp_path))
    named, tagged = tmp_path / NAME, tmp_path / "alexnet.tv_in1k.safetensors"
    named.write_bytes(b"a broken copy")
    assert local_file(host.weights()) is None
    named.write_bytes(CONTENT)
    assert fetch_weights(host.weights()) == named
    tagged.write_bytes(b"mine")
    assert fetch_weights(host.weights()) == tagged
    assert host.requests == []


def test_a_place_that_cannot_be_written_is_said(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host.files[NAME] = CONTENT
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="cannot write"):
        fetch_weights(host.weights())


def test_who_comes_second_finds_the_file_there(host: Host, tmp_path: Path) -> None:
    host.files[NAME] = CONTENT
    target = tmp_path / NAME
    threads = [threading.Thread(target=download, args=(f"{host.address}/{NAME}", target)) for _ in range(2)]
    download(f"{host.address}/{NAME}", target)
    asked = len(host.requests)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == CONTENT
    assert len(host.requests) == asked


def test_who_comes_while_another_fetches_waits_for_its_file(host: Host, tmp_path: Path) -> None:
    host.files[NAME], host.delay = CONTENT, 0.1
    target = tmp_path / "weights" / NAME
    threads = [threading.Thread(target=download, args=(f"{host.address}/{NAME}", target)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == CONTENT
    assert len(host.requests) == 1
    assert [each.name for each in target.parent.iterdir()] == [NAME]


def test_torchvisions_file_becomes_a_network(host: Host, tmp_path: Path) -> None:
    """The whole way, with a file as torchvision writes it, of fewer units."""
    import torch
    import torchvision

    from neocog.models import create_model
    from neocog.models._family import Family
    from neocog.models._weights import load_network

    theirs = torchvision.models.alexnet(num_classes=5).eval()
    theirs.classifier[1] = torch.nn.Linear(256 * 36, 8)
    theirs.classifier[4] = torch.nn.Linear(8, 8)
    theirs.classifier[6] = torch.nn.Linear(8, 5)
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    content = (tmp_path / "net.pth").read_bytes()
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    host.files[name] = content
    path = fetch_weights(host.weights(name))
    ours = load_network(Family.of("alexnet"), path, edits={"hidden": 8}).eval()
    images = torch.randn(2, 3, 80, 80)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))
    assert create_model("alexnet", weights=path, hidden=8).num_classes == 5


def test_torchvisions_weights_are_listed_as_torchvision_names_them() -> None:
    from torchvision.models import get_model_weights, list_models

    from neocog.catalog import list_models as our_models

    known = {entry.url: entry for name in list_models() for entry in get_model_weights(name)}
    found = [
        weights
        for name in our_models(weights=True)
        for weights in describe(name).weights
        if weights.source == "torchvision"
    ]
    assert found
    for weights in found:
        entry = known[weights.url]
        preset = entry.transforms()
        assert weights.num_classes == len(entry.meta["categories"])
        assert [weights.size] == preset.crop_size
        assert weights.crop_pct == pytest.approx(preset.crop_size[0] / preset.resize_size[0], abs=1e-3)
        assert weights.interpolation == preset.interpolation.value
        rescaled = weights.url.rpartition("/")[2].startswith(("googlenet", "inception_v3"))  # in torchvision's network
        expected = ((0.5,) * 3, (0.5,) * 3) if rescaled else (tuple(preset.mean), tuple(preset.std))
        assert (weights.mean, weights.std) == expected
        assert weights.top1 == entry.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        assert describe(weights.model).parameters == entry.meta["num_params"]
