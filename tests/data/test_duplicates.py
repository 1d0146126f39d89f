"""The same image in two splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, picture

from neocog.data.duplicates import fingerprints, shared_images
from neocog.data.rows import image_structs, make_rows
from neocog.data.table import Split


def in_table(pictures: list[bytes], name: str) -> Split:
    rows = make_rows(image_structs(encoded=pictures), [0] * len(pictures), ("a",))
    return Split(rows, ("a",), name)


def in_files(pictures: list[bytes], folder: Path) -> Split:
    folder.mkdir()
    paths = [folder / f"{number}.jpg" for number in range(len(pictures))]
    for path, data in zip(paths, pictures, strict=True):
        path.write_bytes(data)
    return Split(make_rows(image_structs([str(path) for path in paths]), [0] * len(paths), ("a",)), ("a",), str(folder))


def warnings(**splits: Split) -> list[str]:
    return shared_images(splits, dict(zip(splits, fingerprints(list(splits.values())), strict=True)))


def test_equal_images_are_counted_and_one_is_named(tmp_path: Path):
    pictures = [encoded(picture(seed=seed), "BMP") for seed in range(6)]  # all of one size in bytes
    train, test = in_table(pictures[:4], "set/train"), in_table(pictures[3:], "set/test")
    assert warnings(train=train, test=test) == [
        "1 image is in both train and test, such as set/test[0]; remove it from one of the two"
    ]
    folders = {"train": in_files(pictures[:4], tmp_path / "a"), "validation": in_files(pictures[2:], tmp_path / "b")}
    assert warnings(**folders, test=test) == [
        f"2 images are in both train and validation, such as {tmp_path}/b/0.jpg; remove them from one of the two",
        "1 image is in both train and test, such as set/test[0]; remove it from one of the two",
        "3 images are in both validation and test, such as set/test[0]; remove them from one of the two",
    ]


def test_different_images_of_one_size_and_end_are_not_taken_for_equal():
    end = bytes(5000)
    ours, theirs = encoded(picture(seed=1), "BMP") + end, encoded(picture(seed=2), "BMP") + end
    assert len(ours) == len(theirs)
    assert warnings(train=in_table([ours], "train"), test=in_table([theirs], "test")) == []


def test_copies_within_one_split_are_no_matter():
    data = encoded(picture())
    assert warnings(train=in_table([data, data], "train"), test=in_table([encoded(picture(seed=1))], "test")) == []


def test_only_images_whose_size_is_met_again_get_a_fingerprint():
    sizes = [encoded(picture(width, 8), "BMP") for width in (8, 8, 12, 16)]
    assert (fingerprints([in_table(sizes, "train")])[0] > 0).tolist() == [True, True, False, False]


def test_very_large_sets_are_not_checked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("neocog.data.duplicates.CHECKED", 3)
    data = encoded(picture())
    marks = fingerprints([in_table([data, data], "train"), in_table([data, data], "test")])
    assert not np.concatenate(marks).any()
