"""Generated images for the tests of this room."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def picture(width: int = 12, height: int = 10, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A picture of noise, another for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def save_folder(root: Path, counts: Mapping[str, int], *, first_seed: int = 0) -> Path:
    """Write `counts` different images into each directory below `root`, none of them alike."""
    seed = first_seed
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / name / f"{number:03d}.jpg").write_bytes(encoded(picture(seed=seed)))
            seed += 1
    return root


def write_shard(path: Path, members: dict[str, bytes]) -> Path:
    """Write a tar file of the given members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            shard.addfile(info, io.BytesIO(data))
    return path
