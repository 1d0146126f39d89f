"""From what a user names to labelled images: `load_data` to train with, `load_split` to evaluate on.

A source is the name of a known set ("cifar10"), a folder of classes, a folder or file with a list of images
(`metadata.csv`), parquet files, webdataset shards, or "owner/name" on the Hugging Face hub.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from neocog.data.duplicates import fingerprints, shared_images
from neocog.data.files import SUFFIXES, list_directory
from neocog.data.folder import read_folder
from neocog.data.hub import read_hub, read_parquet
from neocog.data.named import DATASETS, read_named
from neocog.data.rows import listed, split_of
from neocog.data.shards import read_shards
from neocog.data.splitting import hold_out
from neocog.data.table import Split, Splits, Tables
from neocog.data.tabular import read_csv
from neocog.errors import DataError, UsageError, near_names

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(:[\w.-]+)?")


def load_data(
    source: str | Path, *, data_dir: str | Path | None = None, validation: float = 0.1, seed: int = 0
) -> Splits:
    """Find images to train with, to choose by and to measure on.

    Without a validation split one is held out of the training images, stratified by class; see `hold_out`.
    The test split stays as it is.

    Args:
        source: see the module.
        data_dir: folder of a local copy, for a set given by its name.
        validation: share of the training images to hold out; 0 holds out none.
        seed: decides which ones.

    Raises:
        DataError: there is no such source, it has no images or one class only, another split has a class that
            training lacks, or a class is too small to hold anything out.
    """
    return divide(read_source(source, data_dir=data_dir), validation=validation, seed=seed)


def divide(tables: Tables, *, validation: float = 0.1, seed: int = 0) -> Splits:
    """Hold out validation images where the source names none, and check that the splits can be used together.

    The arguments and errors are those of `load_data`.
    """
    if not 0 <= validation < 1:
        raise UsageError(f"validation must be a share of the training images below 1, not {validation}")
    train, warnings = tables.training, list(tables.warnings)
    parts = {name: split for name, split in tables.splits.items() if split is not train}
    _check_classes(train, parts, warnings)
    found = {"train": train, **parts}
    marks = dict(zip(found, fingerprints(list(found.values())), strict=True))
    if "validation" not in found and validation > 0:
        keys = tables.keys.get("train") or tables.keys.get("all") or [str(row) for row in range(len(train))]
        kept, held = hold_out(train.targets(), keys, validation, seed)
        if not len(held):
            raise DataError(f"{train.name}: too few images to hold out a validation split; add some to each class")
        found |= {"train": train.select(kept), "validation": train.select(held, f"{tables.name}/validation")}
        marks |= {"train": marks["train"][kept], "validation": marks["train"][held]}
    warnings += [f"{tables.name}: {line}" for line in shared_images(found, marks)]
    return Splits(found["train"], found.get("validation"), found.get("test"), tables.name, tuple(warnings))


def load_split(
    source: str | Path,
    *,
    split: str = "auto",
    data_dir: str | Path | None = None,
    classes: Sequence[str] | None = None,
) -> Split:
    """Find the images to evaluate a trained network on.

    Args:
        source: see the module.
        split: "train", "validation", "test" or "all"; "auto" takes the test split, else the validation split,
            else all images of a source that has no splits.
        data_dir: folder of a local copy, for a set given by its name.
        classes: the network's class names; labels are matched to them by name.

    Raises:
        DataError: there is no such split, or the classes are other ones; the message gives both lists.
    """
    tables = read_source(source, data_dir=data_dir, keep_empty=True)
    wanted = ("test", "validation", "all") if split == "auto" else (split_of(split) or split,)
    found = next((tables.splits[name] for name in wanted if name in tables.splits), None)
    if found is None:
        asked = "no test or validation split" if split == "auto" else f"no split {split}"
        have = " and ".join(sorted(tables.splits))
        raise DataError(f"{tables.name}: there is {asked}, only {have}; name one of these (--split)")
    if classes is not None:
        found = found.with_classes(classes)
    return replace(found, warnings=tuple(tables.warnings))


def read_source(source: str | Path, *, data_dir: str | Path | None = None, keep_empty: bool = False) -> Tables:
    """Read whatever `source` names, with the splits it comes with.

    Args:
        source: see the module. A known name goes before a folder of that name; "./digits" is the folder.
        data_dir: folder of a local copy, for a set given by its name.
        keep_empty: see `read_folder`.

    Raises:
        DataError: there is no such source, or it holds no labelled images.
    """
    text = str(source)
    known, on_hub = text in DATASETS, _HUB_NAME.fullmatch(text) is not None
    path = Path(text).expanduser()
    if data_dir is not None:
        if not known and not (on_hub and not path.exists()):
            raise UsageError(f"data_dir says where the copy of a named set is, but {text} is a path; give one")
        return _local_copy(text, Path(data_dir).expanduser(), keep_empty)
    if known:
        tables = read_named(text)
        if path.exists():
            tables.warnings.append(f"{text} is the known data set; write ./{text} for the folder of that name")
        return tables
    if path.exists():
        return read_path(path, keep_empty=keep_empty)
    if on_hub and not path.parent.exists():
        return read_hub(text)
    raise _absent(text, path)


def read_path(path: Path, *, keep_empty: bool = False) -> Tables:
    """Read a folder or a file of labelled images.

    Raises:
        DataError: it is none that neocog can read, or holds no labelled images.
    """
    name = str(path)
    if path.is_dir():
        return _read_directory(path, keep_empty)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return read_parquet([path], name)
    if suffix in (".csv", ".tsv"):
        return read_csv({"all": path}, name)
    if suffix == ".tar":
        return read_shards([path], name)
    if suffix in SUFFIXES:
        raise DataError(f"{name}: one image is no data set; name the folder that holds a directory for each class")
    raise DataError(f"{name}: not a data set; give a folder or a .csv, .parquet or .tar file (unpack other archives)")


def _read_directory(path: Path, keep_empty: bool) -> Tables:
    """Read a folder by what is in it: a list, parquet files, shards, or directories of classes."""
    name = str(path)
    entries = list_directory(path)
    names = {entry.name.lower(): Path(entry.path) for entry in entries if not entry.is_dir()}
    if "metadata.csv" in names:
        return read_csv({"all": names["metadata.csv"]}, name)
    splits = {split_of(entry.name): Path(entry.path) for entry in entries if entry.is_dir()}
    lists = {split: folder / "metadata.csv" for split, folder in splits.items() if split}
    if lists and any(each.is_file() for each in lists.values()):
        return read_csv({split: each for split, each in lists.items() if each.is_file()}, name)
    folders = [path, *(Path(entry.path) for entry in entries if entry.is_dir())]
    for suffix, read in ((".parquet", read_parquet), (".tar", read_shards)):
        found = [each for folder in folders if _shows(folder, suffix) for each in folder.glob(f"*{suffix}")]
        if found:
            return read(found, name)
    return read_folder(path, keep_empty=keep_empty)


def _shows(folder: Path, suffix: str) -> bool:
    """Whether a file of that kind is among the first in a folder, which may be a class of a million images."""
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(suffix) for entry in islice(entries, 100))


def _local_copy(name: str, folder: Path, keep_empty: bool) -> Tables:
    """Read a named set from `folder`, or from the folder of its name in there."""
    inside = folder / name.rpartition("/")[2]
    place = inside if inside.is_dir() else folder
    if not place.is_dir():
        raise DataError(f"{folder}: there is no such folder for {name}; give the one that holds its files")
    tables = read_path(place, keep_empty=keep_empty)
    for split, rows in tables.splits.items():
        tables.splits[split] = replace(rows, name=name if split == "all" else f"{name}/{split}")
    tables.name = name
    return tables


def _check_classes(train: Split, others: dict[str, Split], warnings: list[str]) -> None:
    """Check that there are classes to tell apart, and that every class measured is a class learnt."""
    counts = np.array(train.class_counts)
    if np.count_nonzero(counts) < (1 if train.multi_label else 2):
        only = ", ".join(name for name, count in zip(train.classes, counts, strict=True) if count)
        raise DataError(f"{train.name}: there is one class only ({only}); a classifier needs at least two")
    for split in others.values():
        unknown = [
            each
            for each, ours, theirs in zip(train.classes, counts, split.class_counts, strict=True)
            if theirs and not ours
        ]
        if unknown:
            raise DataError(
                f"{split.name}: images of {listed(unknown)}, which no training image shows; "
                "add some to the training images, or remove the class"
            )
    absent = [each for each, count in zip(train.classes, counts, strict=True) if count == 0]
    if absent:
        warnings.append(f"{train.name}: no training images of {listed(absent)}")
    single = [each for each, count in zip(train.classes, counts, strict=True) if count == 1]
    if single and "validation" not in others:
        warnings.append(f"{train.name}: a single image of {listed(single)}, which stays in training; add more")


def _absent(text: str, path: Path) -> DataError:
    """Return the error for a source that is not there, with what was probably meant."""
    near = near_names(text, DATASETS)
    if path.parent.is_dir():
        siblings = {entry.name for entry in list_directory(path.parent)}
        near += [str(path.parent / name) for name in near_names(path.name, siblings)]
    hint = f"did you mean {' or '.join(near[:3])}?" if near else "check the path"
    return DataError(f"{text}: no such folder or file, and no data set of that name ({', '.join(DATASETS)}); {hint}")
