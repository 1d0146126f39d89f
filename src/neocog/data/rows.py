"""Rows of labelled images: building such a table, and reading one image of it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from neocog.data.preprocess import FORMATS

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

_ORIENTATION = 0x0112
_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def make_rows(
    images: pa.Array,
    labels: Sequence[int] | Sequence[Sequence[int]],
    classes: Sequence[str],
    multi_label: bool = False,
    **columns: pa.Array,
) -> Dataset:
    """Build a table in memory from an array of `bytes` and `path` structs, labels and further columns."""
    import pyarrow as pa
    from datasets import ClassLabel, Dataset, DatasetInfo, Features, Value
    from datasets import Image as ImageFeature
    from datasets import List as ListFeature

    label = ClassLabel(names=list(classes))
    kinds = {name: Value("string" if pa.types.is_string(column.type) else "int64") for name, column in columns.items()}
    features = Features(
        {"image": ImageFeature(decode=False), "label": ListFeature(label) if multi_label else label, **kinds}
    )
    label_type = pa.list_(pa.int64()) if multi_label else pa.int64()
    table = pa.table({"image": images, "label": pa.array(labels, label_type), **columns})
    return Dataset(table, info=DatasetInfo(features=features))


def relabelled(
    rows: Dataset, labels: Sequence[int] | Sequence[Sequence[int]], classes: Sequence[str], multi_label: bool
) -> Dataset:
    """Return `rows` with another "label" column."""
    from datasets import ClassLabel
    from datasets import List as ListFeature

    label = ClassLabel(names=list(classes))
    bare = rows.remove_columns("label") if "label" in rows.column_names else rows
    return bare.add_column("label", list(labels), feature=ListFeature(label) if multi_label else label)


def image_structs(paths: Sequence[str] | None = None, encoded: Sequence[bytes] | None = None) -> pa.Array:
    """Return the "image" column for files, or for images given as their encoded bytes."""
    import pyarrow as pa

    count = len(paths) if paths is not None else len(encoded or ())
    contents = pa.nulls(count, pa.binary()) if encoded is None else pa.array(encoded, pa.binary())
    names = pa.nulls(count, pa.string()) if paths is None else pa.array(paths, pa.string())
    return pa.StructArray.from_arrays([contents, names], ["bytes", "path"])


def encoded_image(row: dict[str, Any]) -> bytes | Path:
    """Return a row's image as bytes, or as the file that holds nothing else."""
    image = row["image"]
    if image["bytes"] is not None:
        return bytes(image["bytes"])
    if "offset" not in row:
        return Path(image["path"])
    with open(image["path"], "rb") as shard:
        shard.seek(row["offset"])
        return shard.read(row["size"])


def image_header(source: bytes | Path) -> tuple[tuple[int, int], str]:
    """Return (height, width) and Pillow's mode of an image without decoding its pixels."""
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
        lies = image.getexif().get(_ORIENTATION, 1) >= 5
        return (image.width, image.height) if lies else (image.height, image.width), image.mode


def listed(names: Sequence[str], count: int = 5) -> str:
    """Return the first few of `names` and how many there are in all."""
    shown = ", ".join(names[:count])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > count else shown


def label_indices(
    names: Iterable[Sequence[str]], classes: Sequence[str], multi_label: bool
) -> list[int] | list[list[int]]:
    """Return the labels of images, an index each or a list of them, from the class names of each image."""
    place = {name: index for index, name in enumerate(classes)}
    several = [[place[name] for name in each] for each in names]
    return several if multi_label else [indices[0] for indices in several]


def sort_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Return each class name once: in numerical order if all are numbers, else alphabetically."""
    unique = set(names)
    numbers = all(name.isascii() and name.isdigit() for name in unique)
    return tuple(sorted(unique, key=lambda name: (int(name), name) if numbers else (0, name)))


def split_of(name: str) -> str | None:
    """Return "train", "validation" or "test" for the ways of writing them, None for any other name."""
    return _SPLIT_NAMES.get(name.lower())


def group_by_split(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Group data files by the split that a word of their name, or else their folder's name, says.

    Files that name no split are the training files beside others that name validation or test, and "all"
    where no file names one.
    """
    groups: dict[str, list[Path]] = {}
    for path in sorted(paths):
        words = [*re.split("[^a-z]+", path.stem.lower()), path.parent.name]
        split = next((split for split in map(split_of, words) if split), "all")
        groups.setdefault(split, []).append(path)
    if len(groups) > 1 and "all" in groups:
        groups["train"] = sorted(groups.get("train", []) + groups.pop("all"))
    return groups
