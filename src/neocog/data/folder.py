"""Folders of classes, with or without train, validation and test directories.

How a folder is read:

- Its sub-directories are the classes, and every image below one belongs to that class.
- Where `train`, `val` (or `valid`, `validation`, `dev`) and `test` hold class directories instead of
images, they are
  splits. A directory of that name which holds images itself, beside other classes, is a class of that name.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from neocog.data.files import SUFFIXES, Skipped, list_directory, sound_images
from neocog.data.rows import image_structs, listed, make_rows, sort_classes, split_of
from neocog.data.table import Split, Tables
from neocog.errors import DataError

_ARRANGE = "put the images of each class into a directory of its own, named after the class"


def read_folder(root: str | Path, *, keep_empty: bool = False) -> Tables:
    """Read a folder of classes.

    Args:
        root: the folder.
        keep_empty: count a class directory without images as a class, to evaluate with; otherwise it is
            left out with a warning.

    Raises:
        DataError: the folder is empty, has no class directories, mixes splits with classes, or all files of a
            class are damaged.
    """
    root = os.fspath(root)
    skipped = Skipped()
    tables = Tables(root, {})
    found = {
        split: _read_classes(directory, tables.warnings, skipped, keep_empty)
        for split, directory in _split_directories(root, tables.warnings).items()
    }
    classes = sort_classes(name for by_class in found.values() for name in by_class)
    for split, by_class in found.items():
        name = root if split == "all" else f"{root}/{split}"
        paths = [path for each in classes for path in by_class.get(each, ())]
        labels = [label for label, each in enumerate(classes) for _ in by_class.get(each, ())]
        if not paths:
            raise DataError(f"{name}: no images in its class directories; check that it is the right folder")
        tables.splits[split] = Split(make_rows(image_structs(paths), labels, classes), classes, name)
        tables.keys[split] = [Path(os.path.relpath(path, root)).as_posix() for path in paths]
    tables.warnings += skipped.warnings(root)
    return tables


def _split_directories(root: str, warnings: list[str]) -> dict[str, str]:
    """Return the directory that holds the classes of each split, or of "all"."""
    entries = list_directory(root)
    directories = [entry for entry in entries if entry.is_dir()]
    if not directories:
        if not entries:
            raise DataError(f"{root}: the folder is empty; {_ARRANGE}")
        raise DataError(f"{root}: there are no class directories in it; {_ARRANGE}")
    named = [entry for entry in directories if split_of(entry.name)]
    others = [entry for entry in directories if not split_of(entry.name)]
    splits = [entry for entry in named if _holds(entry.path) == "directories"]
    if not splits:
        if named and not others:
            raise DataError(f"{named[0].path}: there are no class directories in it; {_ARRANGE}")
        return {"all": root}
    if len(splits) == 1 and any(_holds(entry.path) == "images" for entry in others):
        raise DataError(
            f"{splits[0].path}: holds directories, as a split does, but stands beside "
            f"{listed([entry.name for entry in others])}; if it is a class, put its images directly into it, "
            "and otherwise move the others into a split"
        )
    for entry in directories:
        if entry not in splits:
            warnings.append(f"{entry.path}: not used, since it stands beside splits and holds no classes")
    found: dict[str, str] = {}
    for entry in splits:
        split = split_of(entry.name) or ""
        if split in found:
            raise DataError(f"{root}: {found[split]} and {entry.path} are both {split} splits; remove one")
        found[split] = entry.path
    return found


def _holds(directory: str) -> str:
    """Return what lies directly in a directory: "images", else "directories", else "nothing"."""
    entries = list_directory(directory)
    if any(os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.is_dir() for entry in entries):
        return "images"
    return "directories" if any(entry.is_dir() for entry in entries) else "nothing"


def _read_classes(directory: str, warnings: list[str], skipped: Skipped, keep_empty: bool) -> dict[str, Sequence[str]]:
    """Return the sound images of each class directory."""
    entries = list_directory(directory)
    strays = [e for e in entries if not e.is_dir() and os.path.splitext(e.name)[1].lower() in SUFFIXES]
    if strays:
        images = "image" if len(strays) == 1 else "images"
        warnings.append(
            f"{directory}: {len(strays)} {images} left out because in no class directory, such as {strays[0].name}"
        )
    found: dict[str, Sequence[str]] = {}
    for entry in entries:
        if not entry.is_dir():
            continue
        unusable = Skipped()
        paths = sound_images(entry.path, unusable)
        skipped.extend(unusable)
        if not paths and unusable.spoilt and not keep_empty:
            raise DataError(f"{entry.path}: none of its files can be used ({unusable.spoilt}); replace or remove them")
        if not paths:
            left_out = "" if keep_empty else ", so there is no such class"
            warnings.append(f"{entry.path}: the class directory is empty{left_out}")
        if paths or keep_empty:
            name = unicodedata.normalize("NFC", entry.name)
            found[name] = [*found.get(name, ()), *paths]
    return found
