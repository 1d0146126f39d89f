"""Fixtures that every test may use."""

from __future__ import annotations

import os

# Two test processes share two cores: a thread each, set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import atexit
import shutil
import tempfile
from pathlib import Path

import pytest

# Photographs that tests decode are kept apart from the user's own, and forgotten.
os.environ["NEOCOG_CACHE"] = tempfile.mkdtemp(prefix="neocog-tests-")
atexit.register(shutil.rmtree, os.environ["NEOCOG_CACHE"], ignore_errors=True)

SHARED_DATA = Path(os.environ.get("NEOCOG_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and weights beside the checkout; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the shared images and weights, which are not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests off the network; a test of the hub starts a local server and sets the endpoint itself."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of two classes of generated photographs of varied size: stripes across, and stripes down."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    for name, axis in (("across", 0), ("down", 1)):
        folder = tmp_path / "photographs" / name
        folder.mkdir(parents=True)
        for number in range(20):
            height, width = generator.integers(70, 120, 2)
            wave = np.sin(np.arange(height if axis == 0 else width) / generator.uniform(1.5, 4.0))
            stripes = np.broadcast_to(wave[:, None] if axis == 0 else wave[None, :], (height, width))
            noisy = 128 + 80 * stripes[..., None] + generator.normal(0, 20, (height, width, 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:02d}.jpg")
    return tmp_path / "photographs"
