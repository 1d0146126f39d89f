"""Tensors come back bit for bit through the safetensors library, and what is wrong with a file is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from neocog.errors import UsageError, WeightsError
from neocog.inference.tensor_file import open_tensors, tensor_bytes, write_tensors

# Not resource.getrusage, whose peak a process inherits from the one that started it.
PEAK = "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.uint64,
    torch.int64, torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.bfloat16, torch.float32,
    torch.float64, torch.complex64,
]  # fmt: skip


def random_bits(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return any bits at all, NaN payloads among them."""
    width = torch.empty((), dtype=dtype).element_size()
    bits = torch.randint(0, 2 if dtype is torch.bool else 256, (*shape, width), dtype=torch.uint8)
    return bits.view(dtype).reshape(shape)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 5)])
def test_every_dtype_comes_back_bit_for_bit(tmp_path: Path, shape: tuple[int, ...]) -> None:
    tensors = {str(dtype): random_bits(shape, dtype) for dtype in DTYPES}
    write_tensors(tmp_path / "a.safetensors", tensors, {"note": 'häh\n"?'})
    read = load_file(tmp_path / "a.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert read[name].shape == tensor.shape
        assert tensor_bytes(read[name]).tobytes() == tensor_bytes(tensor).tobytes(), name
    with open_tensors(tmp_path / "a.safetensors") as file:
        assert file.metadata() == {"note": 'häh\n"?'}


def test_layout_shared_memory_and_gradients_do_not_matter(tmp_path: Path) -> None:
    base = torch.randn(4, 6, 5, 5)
    tensors = {
        "channels_last": base.to(memory_format=torch.channels_last),
        "transposed": base.transpose(0, 1),
        "slice": base[1:3, ::2],
        "same": base,
        "again": base,
        "parameter": torch.nn.Parameter(base),
    }
    write_tensors(tmp_path / "a.safetensors", tensors, {})
    read = load_file(tmp_path / "a.safetensors")
    for name, tensor in tensors.items():
        assert torch.equal(read[name], tensor.detach())


def test_the_file_is_the_one_that_safetensors_would_write(tmp_path: Path) -> None:
    tensors = {"b": torch.randn(3), "a": torch.ones(1, dtype=torch.uint8), "c": torch.arange(2)}
    write_tensors(tmp_path / "ours", tensors, {"note": "x"})
    save_file(tensors, tmp_path / "theirs", {"note": "x"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_a_dtype_without_a_code_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tensor 'z' is torch\.complex128"):
        write_tensors(tmp_path / "a", {"z": torch.zeros(1, dtype=torch.complex128)}, {})
    assert not (tmp_path / "a").exists()


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    write_tensors(tmp_path / "whole", {"w": torch.randn(100)}, {})
    return (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not a safetensors file"),
        (b"PK\x03\x04" + bytes(100), "is not a safetensors file"),
        (b"abc", "is not a safetensors file"),
    ],
)
def test_a_foreign_file_is_said_to_be_one(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=problem) as caught, open_tensors(path):
        pass
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [9, 40, -400, -1])
def test_a_truncated_file_is_said_to_be_cut_short(tmp_path: Path, whole: bytes, kept: int) -> None:
    (tmp_path / "cut").write_bytes(whole[:kept])
    with pytest.raises(WeightsError, match="cut is damaged or cut short"), open_tensors(tmp_path / "cut"):
        pass


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no file"), open_tensors(tmp_path / "none"):
        pass
    with pytest.raises(WeightsError, match="is a folder"), open_tensors(tmp_path):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may read everything")
def test_an_unreadable_file_is_refused(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "whole").chmod(0)
    with pytest.raises(WeightsError, match="cannot read"), open_tensors(tmp_path / "whole"):
        pass


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells a process's own peak")
def test_writing_takes_no_second_copy_of_the_tensors(tmp_path: Path) -> None:
    """Measured in a process of its own: the peak of resident memory while 100 MB are written."""
    script = (
        f"{PEAK}\n"
        "import sys, torch\n"
        "from neocog.inference.tensor_file import write_tensors\n"
        "tensors = {str(i): torch.ones(2_500_000) for i in range(10)}\n"
        "write_tensors(sys.argv[1], {'warm': torch.ones(1)}, {})\n"
        "before = peak()\n"
        "write_tensors(sys.argv[1], tensors, {})\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 10_000  # KiB
