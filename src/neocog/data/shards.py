"""webdataset shards: tar files in which the members of one sample share a name up to its first dot.

`000123.jpg` is an image, and `000123.cls` its class, as a number or a name; or `000123.json` holds it
under "label", "cls", "class" or "class_name", or a list of classes under "labels". Numbers are named by
the lines of a `classes.txt` beside the shards, where there is one. Shards are indexed, not unpacked: an
image is read from its place in the tar file, for which the shard must not be compressed.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from neocog.data.files import SUFFIXES, Skipped, problem_of
from neocog.data.rows import group_by_split, image_structs, label_indices, make_rows, sort_classes
from neocog.data.table import Split, Tables
from neocog.errors import DataError

_ONE_CLASS = ("label", "cls", "class", "class_name")


@dataclass
class _Sample:
    """One sample: where its image lies, and its classes once a member has told them."""

    shard: str
    member: str = ""
    offset: int = 0
    size: int = 0
    classes: list[str] | None = None
    multi_label: bool = False


def read_shards(paths: Sequence[Path], name: str) -> Tables:
    """Index tar shards of images and classes; their file names tell the splits.

    Raises:
        DataError: a shard is damaged or compressed, a sample has no class, or there is no image at all.
    """
    skipped = Skipped()
    samples = {
        split: [sample for shard in shards for sample in _index(shard, skipped)]
        for split, shards in group_by_split(paths).items()
    }
    everything = [sample for each in samples.values() for sample in each]
    if not everything:
        raise DataError(f"{name}: there are no images in its shards; check that they are webdataset shards")
    _name_classes(everything, paths[0].parent / "classes.txt")
    multi_label = any(sample.multi_label for sample in everything)
    classes = sort_classes(each for sample in everything for each in sample.classes or ())
    tables = Tables(name, {}, warnings=skipped.warnings(name))
    for split, chosen in samples.items():
        if chosen:
            called = name if split == "all" else f"{name}/{split}"
            tables.splits[split] = _table(chosen, classes, multi_label, called)
            tables.keys[split] = [f"{Path(sample.shard).name}/{sample.member}" for sample in chosen]
    return tables


def _index(shard: Path, skipped: Skipped) -> list[_Sample]:
    """Return the samples of a shard, in the order of their images."""
    samples: dict[str, _Sample] = {}
    try:
        with tarfile.open(shard, "r:") as members, open(shard, "rb") as contents:
            for member in members:
                folder, _, base = member.name.rpartition("/")
                stem, _, suffixes = base.partition(".")
                if member.isfile() and stem:
                    sample = samples.setdefault(f"{folder}/{stem}", _Sample(str(shard)))
                    _take(sample, member, "." + suffixes.lower(), contents, skipped)
    except tarfile.TarError as error:
        raise DataError(
            f"{shard}: not a whole, uncompressed tar file ({error}); copy it again, or repack it without compression"
        ) from error
    except OSError as error:
        raise DataError(f"{shard}: cannot be read ({(error.strerror or str(error)).lower()})") from error
    with_image = [sample for sample in samples.values() if sample.member]
    for sample in with_image:
        if sample.classes is None:
            raise DataError(
                f"{shard}/{sample.member}: has no class; add a .cls member of the same name, or "
                'a .json one with "label"'
            )
    return with_image


def _take(sample: _Sample, member: tarfile.TarInfo, suffix: str, contents: BinaryIO, skipped: Skipped) -> None:
    """Add what one member of a shard says to its sample."""

    def read(start: int, count: int) -> bytes:
        contents.seek(member.offset_data + start)
        return contents.read(count)

    def everything() -> bytes:
        return read(0, member.size)

    where = f"{sample.shard}/{member.name}"
    if os.path.splitext(suffix)[1] in SUFFIXES or suffix in SUFFIXES:
        tail = read(max(0, member.size - 64), min(64, member.size))
        problem = problem_of(read(0, min(64, member.size)), tail, member.size, lambda: io.BytesIO(everything()))
        if problem:
            skipped.add(problem, where)
        else:
            sample.member, sample.offset, sample.size = member.name, member.offset_data, member.size
    elif suffix == ".cls":
        sample.classes = [everything().decode("utf-8", "replace").strip()]
    elif suffix == ".json":
        try:
            record = json.loads(everything())
        except ValueError as error:
            raise DataError(f"{where}: not JSON ({error}); write the sample again") from error
        _take_record(sample, record if isinstance(record, dict) else {})


def _take_record(sample: _Sample, record: dict[str, Any]) -> None:
    """Read the classes from a sample's JSON record; a .cls member goes before it."""
    if isinstance(record.get("labels"), list):
        sample.classes, sample.multi_label = sorted({str(each) for each in record["labels"]}), True
    value = next((record[key] for key in _ONE_CLASS if isinstance(record.get(key), str | int)), None)
    if value is not None and sample.classes is None:
        sample.classes = [str(value)]


def _name_classes(samples: Sequence[_Sample], names: Path) -> None:
    """Replace class numbers by the lines of `names`, if there is such a file and all classes are numbers."""
    if not names.is_file() or not all(each.isdigit() for sample in samples for each in sample.classes or ()):
        return
    lines = names.read_text(encoding="utf-8").splitlines()
    for sample in samples:
        try:
            sample.classes = [lines[int(each)] for each in sample.classes or ()]
        except IndexError as error:
            raise DataError(
                f"{names}: names {len(lines)} classes, but {sample.shard}/{sample.member} is of class "
                f"{', '.join(sample.classes or ())}; number them from 0"
            ) from error


def _table(samples: Sequence[_Sample], classes: tuple[str, ...], multi_label: bool, name: str) -> Split:
    import pyarrow as pa

    rows = make_rows(
        image_structs([sample.shard for sample in samples]),
        label_indices([sample.classes or [] for sample in samples], classes, multi_label),
        classes,
        multi_label,
        member=pa.array([sample.member for sample in samples], pa.string()),
        offset=pa.array([sample.offset for sample in samples], pa.int64()),
        size=pa.array([sample.size for sample in samples], pa.int64()),
    )
    return Split(rows, classes, name, multi_label)
