"""A checkpoint is whole or noticed, and the one before it is always there."""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from neocog._files import is_temporary
from neocog.errors import StorageError, TrainingError, UsageError, WeightsError
from neocog.train.checkpoint import Checkpoints, load_checkpoint, save_checkpoint

META = {"step": 12345678901234567890, "lr": 0.1 + 0.2, "best": -math.inf, "tiny": 5e-324, "names": ["a", "é"]}


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "weight": torch.randn(8, 4, 3, 3, generator=generator).to(memory_format=torch.channels_last),
        "step": torch.tensor(7.0),
        "count": torch.tensor(3),
        "momentum": torch.randn(5, generator=generator).bfloat16(),
        "rng": generator.get_state(),
        "flag": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
    }


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == tensor.dtype and torch.equal(found[name], tensor) for name, tensor in expected.items()
    )


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_tensors_and_scalars_come_back_exactly(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save_checkpoint(tmp_path / "a", tensors, META)
    found, meta = load_checkpoint(tmp_path / "a")
    assert same(found, tensors)
    assert meta == META


def test_what_is_read_stays_when_the_file_goes(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save_checkpoint(tmp_path / "a", tensors, META)
    found, _ = load_checkpoint(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"")
    assert same(found, tensors)
    assert all(tensor.data_ptr() % 64 == 0 for tensor in found.values())


def test_a_flipped_bit_anywhere_is_noticed_or_harmless(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    """In every byte one bit is flipped; where the header still means the same, all is read as it was saved."""
    path = tmp_path / "a"
    small = {name: tensors[name] for name in ("step", "momentum", "flag")}
    save_checkpoint(path, small, {"step": 3, "lr": 0.5})
    size, noticed = path.stat().st_size, 0
    for byte in range(size):
        flip(path, 8 * byte + byte % 8)
        found, meta = small, {"step": 3, "lr": 0.5}
        try:
            found, meta = load_checkpoint(path)
        except WeightsError:
            noticed += 1
        assert same(found, small)
        assert meta == {"step": 3, "lr": 0.5}
        flip(path, 8 * byte + byte % 8)
    assert noticed > 0.99 * size


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", {"w": torch.arange(4)}, {"step": 3})
    whole = (tmp_path / "a").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "a").write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            load_checkpoint(tmp_path / "a")


def test_a_model_file_is_not_a_checkpoint(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(1)}, tmp_path / "a")
    with pytest.raises(WeightsError, match="is not a checkpoint"):
        load_checkpoint(tmp_path / "a")


def test_meta_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plain values"):
        save_checkpoint(tmp_path / "a", {}, {"when": object()})
    assert os.listdir(tmp_path) == []


def test_the_newest_are_kept_and_the_last_is_found(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.latest() is None
    for step in (9, 10, 100):
        checkpoints.save(step, tensors, {"step": step})
    assert [path.name for path in checkpoints.paths()] == [
        "step-0000000010.safetensors",
        "step-0000000100.safetensors",
    ]
    found = checkpoints.latest()
    assert found is not None
    assert (found.meta, found.warnings, found.path) == ({"step": 100}, (), checkpoints.paths()[-1])
    assert same(found.tensors, tensors)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"w": torch.tensor([1.0])}, {"step": 1})
    newest = checkpoints.save(2, {"w": torch.tensor([2.0])}, {"step": 2})
    content = newest.read_bytes()
    if damage == "flip":
        flip(newest, len(content) * 8 - 1)
    else:
        newest.write_bytes(content[:-1] if damage == "cut" else b"")
    found = checkpoints.latest()
    assert found is not None
    assert found.meta == {"step": 1}
    assert len(found.warnings) == 1
    assert str(newest) in found.warnings[0]
    assert "the checkpoint before it is used" in found.warnings[0]


def test_going_on_from_an_older_checkpoint_forgets_the_damaged_one(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20):
        checkpoints.save(step, {"w": torch.tensor([float(step)])}, {"step": step})
    checkpoints.paths()[-1].write_bytes(b"damaged")
    checkpoints.save(15, {"w": torch.tensor([15.0])}, {"step": 15})
    assert [path.stem for path in checkpoints.paths()] == ["step-0000000010", "step-0000000015"]
    found = checkpoints.latest()
    assert found is not None
    assert (found.meta, found.warnings) == ({"step": 15}, ())


def test_only_damaged_checkpoints_are_an_error(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {}, {"step": 1}).write_bytes(b"damaged")
    with pytest.raises(TrainingError, match=r"every checkpoint in .* is damaged"):
        checkpoints.latest()


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {}, {"try": 1})
    checkpoints.save(1, {}, {"try": 2})
    found = checkpoints.latest()
    assert found is not None
    assert found.meta == {"try": 2}
    assert len(checkpoints.paths()) == 1


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    """The system refuses the second file in its middle, as a full disk would."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"w": torch.ones(10)}, {"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*step-0000000002\.safetensors") as caught:
            checkpoints.save(2, {"w": torch.ones(1_000_000)}, {"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001.safetensors"]
    found = checkpoints.latest()
    assert found is not None
    assert found.meta == {"step": 1}


@pytest.mark.parametrize("number", [28, 30, 5])  # no space left, read-only file system, input/output error
def test_what_the_disk_refuses_at_the_very_end_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {}, {"step": 1})

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=os.strerror(number).lower()):
        checkpoints.save(2, {}, {"step": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001.safetensors"]


def test_a_process_that_does_not_write_leaves_no_files(tmp_path: Path) -> None:
    silent = Checkpoints(tmp_path / "checkpoints", writes=False)
    silent.save(1, {}, {"step": 1})
    assert not (tmp_path / "checkpoints").exists()


def test_at_least_one_must_be_kept(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        Checkpoints(tmp_path, keep=0)


KILLED = """
import os, signal, sys, time
import torch
from neocog.train.checkpoint import Checkpoints

def save_without_end(checkpoints, step):
    while True:
        step += 1
        checkpoints.save(step, {str(i): torch.full((100_000,), float(step)) for i in range(5)}, {"step":
        step})

checkpoints, reached = Checkpoints(sys.argv[1]), 0
for attempt in range(10):
    child = os.fork()
    if child == 0:
        save_without_end(checkpoints, reached)
    time.sleep(0.05 + 0.0137 * attempt)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found = checkpoints.latest()
    if found is not None:
        assert not found.warnings, found.warnings
        assert found.meta["step"] >= reached
        reached = found.meta["step"]
        assert len(found.tensors) == 5
        assert all(tensor.eq(reached).all() for tensor in found.tensors.values())
print(reached)
"""


def test_sigkill_at_any_moment_leaves_whole_checkpoints(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 0
    whole = [path for path in tmp_path.iterdir() if not is_temporary(path)]
    assert 1 <= len(whole) <= 3


def test_metadata_is_readable_by_others(tmp_path: Path) -> None:
    from safetensors import safe_open

    save_checkpoint(tmp_path / "a", {"w": torch.zeros(2)}, {"step": 4})
    with safe_open(tmp_path / "a", framework="pt") as file:
        assert json.loads(file.metadata()["meta"]) == {"step": 4}
