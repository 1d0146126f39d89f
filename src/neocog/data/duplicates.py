"""Finding images that stand in two splits, which makes a measured accuracy too good."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from neocog.data.rows import encoded_image
from neocog.data.table import Split

CHECKED = 200_000
"""Sources with more images than this are not checked; reading them would take minutes."""

_TAIL = 4096  # bytes at the end of an encoded image, which all but name it


def fingerprints(splits: Sequence[Split]) -> list[np.ndarray]:
    """Return a number for each image of each split `(N,)` that equal images share; 0 for one like no other.

    An image of a size that no other image has is not read, of others only the last bytes are.
    """
    if sum(map(len, splits)) > CHECKED:
        return [np.zeros(len(split), dtype=np.uint64) for split in splits]
    sizes = [_sizes(split) for split in splits]
    values, counts = np.unique(np.concatenate(sizes), return_counts=True)
    repeated = values[(counts > 1) & (values > 0)]
    return [_marks(split, each, np.isin(each, repeated)) for split, each in zip(splits, sizes, strict=True)]


def shared_images(splits: Mapping[str, Split], marks: Mapping[str, np.ndarray]) -> list[str]:
    """Return one line for each pair of splits that hold the same encoded images.

    Args:
        splits: by the name to call them.
        marks: the fingerprints of their images; those that agree are compared in full.
    """
    warnings = []
    for first, second in combinations(splits, 2):
        common, ours, theirs = np.intersect1d(marks[first], marks[second], return_indices=True)
        shared = [
            place
            for mark, index, place in zip(common.tolist(), ours.tolist(), theirs.tolist(), strict=True)
            if mark and _contents(splits[first], index) == _contents(splits[second], place)
        ]
        if shared:
            what, them = ("image is", "it") if len(shared) == 1 else ("images are", "them")
            warnings.append(
                f"{len(shared)} {what} in both {first} and {second}, such as {splits[second].source(min(shared))}; "
                f"remove {them} from one of the two"
            )
    return warnings


def _sizes(split: Split) -> np.ndarray:
    """Return the encoded size of every image in bytes `(N,)`; -1 for a file that is gone."""
    import pyarrow.compute as pc

    rows = split.rows.with_format("arrow")
    if "size" in split.rows.column_names:
        return np.asarray(rows["size"][:].to_numpy(), dtype=np.int64)
    images = rows["image"][:]
    lengths = pc.fill_null(pc.binary_length(pc.struct_field(images, "bytes")), -1)
    sizes = np.array(lengths.to_numpy(), dtype=np.int64)
    in_files = np.flatnonzero(sizes < 0)
    if len(in_files):
        paths = pc.struct_field(images, "path").to_pylist()
        sizes[in_files] = [_file_size(paths[index]) for index in in_files.tolist()]
    return sizes


def _marks(split: Split, sizes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return a digest of size and last bytes as a number for each of the wanted images, 0 for the others."""
    import pyarrow.compute as pc

    rows = split.rows.with_format("arrow")
    images = rows["image"][:]
    contents, paths = pc.struct_field(images, "bytes"), pc.struct_field(images, "path").to_pylist()
    in_table = contents.is_valid().to_numpy()
    ends = rows["offset"][:].to_numpy() + sizes if "offset" in split.rows.column_names else sizes
    marks = np.zeros(len(split), dtype=np.uint64)
    for index in np.flatnonzero(wanted).tolist():
        size = int(sizes[index])
        if in_table[index]:
            tail: bytes | memoryview = memoryview(contents[index].as_buffer())[-_TAIL:]
        else:
            tail = _last_bytes(paths[index], int(ends[index]), min(size, _TAIL))
        digest = hashlib.blake2b(tail, digest_size=8, salt=size.to_bytes(16, "little")).digest()
        marks[index] = int.from_bytes(digest, "little")
    return marks


def _last_bytes(path: str, end: int, count: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        file.seek(end - count)
        return file.read(count)


def _contents(split: Split, index: int) -> bytes:
    image = encoded_image(split.rows[index])
    return image if isinstance(image, bytes) else image.read_bytes()


def _file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
