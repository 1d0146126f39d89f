"""Finding images that stand in two splits, which makes a measured accuracy too good."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from neocog.data.rows import encoded_image
from neocog.data.table import Split

CHECKED = 200_000
"""Sources with more images than this are not checked; reading them would take minutes."""

_TAIL = 4096  # bytes at the end of an encoded image, which all but name it

_Mark = tuple[int, bytes]


def shared_images(splits: Mapping[str, Split]) -> list[str]:
    """Return one line for each pair of splits that hold the same encoded images.

    Sizes are compared first, then the last bytes of images whose size occurs in both splits, and in full
    only those that agree in both.
    """
    if len(splits) < 2 or sum(map(len, splits.values())) > CHECKED:
        return []
    sizes = {name: list(_sizes(split)) for name, split in splits.items()}
    warnings = []
    for (first, one), (second, other) in combinations(splits.items(), 2):
        both = set(sizes[first]) & set(sizes[second])
        ours, theirs = _marks(one, sizes[first], both), _marks(other, sizes[second], both)
        shared = [
            theirs[mark]
            for mark in ours.keys() & theirs.keys()
            if _read(one, ours[mark]) == _read(other, theirs[mark])
        ]
        if shared:
            what, them = ("image is", "it") if len(shared) == 1 else ("images are", "them")
            warnings.append(
                f"{len(shared)} {what} in both {first} and {second}, such as {other.source(min(shared))}; "
                f"remove {them} from one of the two"
            )
    return warnings


def _sizes(split: Split) -> Iterator[int]:
    """Yield the encoded size of every image in bytes; -1 for a file that is gone."""
    import pyarrow.compute as pc

    for batch in split.rows.with_format("arrow").iter(batch_size=1000):
        if "size" in batch.column_names:
            yield from batch["size"].to_pylist()
            continue
        lengths = pc.binary_length(pc.struct_field(batch["image"], "bytes")).to_pylist()
        paths = pc.struct_field(batch["image"], "path").to_pylist()
        for length, path in zip(lengths, paths, strict=True):
            yield _file_size(path) if length is None else length


def _marks(split: Split, sizes: list[int], wanted: set[int]) -> dict[_Mark, int]:
    """Return size and last bytes of the images of the wanted sizes, each with the index of its first image."""
    marks: dict[_Mark, int] = {}
    for index, (size, image) in enumerate(zip(sizes, split.encoded(), strict=True)):
        if size in wanted and size > 0:
            marks.setdefault((size, _last_bytes(image)), index)
    return marks


def _last_bytes(image: bytes | Path) -> bytes:
    if isinstance(image, bytes):
        return image[-_TAIL:]
    with open(image, "rb", buffering=0) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        return file.read(_TAIL)


def _read(split: Split, index: int) -> bytes:
    image = encoded_image(split.rows[index])
    return image if isinstance(image, bytes) else image.read_bytes()


def _file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
