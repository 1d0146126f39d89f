"""Folders of classes, whole and odd."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import encoded, picture, save_folder

from neocog.data.folder import read_folder
from neocog.errors import DataError


def test_directories_are_classes_in_alphabetical_order(tmp_path: Path):
    root = save_folder(tmp_path, {"wasps": 1, "ants/black": 2, "ants/red": 1, "Bees and co": 2})
    tables = read_folder(root)
    assert list(tables.splits) == ["all"]
    split = tables.splits["all"]
    assert split.classes == ("Bees and co", "ants", "wasps")
    assert split.class_counts == (2, 3, 1)
    assert tables.keys["all"][2:5] == ["ants/black/000.jpg", "ants/black/001.jpg", "ants/red/000.jpg"]
    assert split.source(4) == f"{root}/ants/red/000.jpg"
    assert split.image(0).size == (12, 10)
    assert tables.warnings == []


def test_numbered_classes_are_in_numerical_order(tmp_path: Path):
    root = save_folder(tmp_path, {"10": 1, "9": 1, "1": 1})
    assert read_folder(root).splits["all"].classes == ("1", "9", "10")


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "valid", "Testing"), ("train", "validation", "test")]
)
def test_split_directories_hold_the_same_classes(tmp_path: Path, names):
    counts = {f"{name}/{kind}": 3 - place for place, name in enumerate(names) for kind in ("ants", "bees")}
    tables = read_folder(save_folder(tmp_path, counts))
    assert {name: len(split) for name, split in tables.splits.items()} == {"train": 6, "validation": 4, "test": 2}
    assert {split.classes for split in tables.splits.values()} == {("ants", "bees")}
    assert tables.splits["test"].name == f"{tmp_path}/test"


def test_a_class_missing_from_validation_keeps_the_labels_of_training(tmp_path: Path):
    tables = read_folder(save_folder(tmp_path, {"train/a": 1, "train/b": 1, "train/c": 1, "val/c": 1}))
    assert tables.splits["validation"].targets().tolist() == [2]


@pytest.mark.parametrize("name", ["train", "test", "val"])
def test_a_class_may_be_called_like_a_split(tmp_path: Path, name):
    split = read_folder(save_folder(tmp_path, {name: 2, "bus": 2, "car": 2})).splits["all"]
    assert set(split.classes) == {name, "bus", "car"}
    assert split.class_counts == (2, 2, 2)


def test_classes_called_like_splits_may_stand_inside_splits(tmp_path: Path):
    counts = {"train/train": 2, "train/bus": 2, "val/train": 1, "val/bus": 1}
    tables = read_folder(save_folder(tmp_path, counts))
    assert {name: split.class_counts for name, split in tables.splits.items()} == {
        "train": (2, 2),
        "validation": (1, 1),
    }
    assert tables.splits["train"].classes == ("bus", "train")


def test_a_split_beside_classes_is_refused(tmp_path: Path):
    root = save_folder(tmp_path, {"train/steam": 1, "train/diesel": 1, "bus": 1})
    with pytest.raises(DataError, match=r"train: holds directories, as a split does, but stands beside bus"):
        read_folder(root)


def test_an_unlabelled_test_directory_is_left_out_with_a_warning(tmp_path: Path):
    tables = read_folder(save_folder(tmp_path, {"train/a": 2, "train/b": 2, "val/a": 1, "test": 3}))
    assert set(tables.splits) == {"train", "validation"}
    assert tables.warnings == [f"{tmp_path}/test: not used, since it stands beside splits and holds no classes"]


def test_two_directories_of_one_split_are_refused(tmp_path: Path):
    root = save_folder(tmp_path, {"train/a": 1, "val/a": 1, "valid/a": 1})
    with pytest.raises(DataError, match="both validation splits"):
        read_folder(root)


def test_an_empty_folder_and_one_without_classes_are_refused(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: the folder is empty; put the images of each class"):
        read_folder(tmp_path / "empty")
    with pytest.raises(DataError, match=r"flat: there are no class directories"):
        read_folder(save_folder(tmp_path / "flat", {".": 3}))
    with pytest.raises(DataError, match=r"train: there are no class directories"):
        read_folder(save_folder(tmp_path / "flat splits", {"train": 3, "val": 2}))
    with pytest.raises(DataError, match=r"hollow: no images in its class directories"):
        read_folder(save_folder(tmp_path / "hollow", {"a": 0, "b": 0}))


def test_an_empty_class_is_warned_of_and_left_out_unless_asked_for(tmp_path: Path):
    root = save_folder(tmp_path, {"ants": 2, "bees": 2, "cows": 0})
    tables = read_folder(root)
    assert tables.splits["all"].classes == ("ants", "bees")
    assert tables.warnings == [f"{root}/cows: the class directory is empty, so there is no such class"]
    assert read_folder(root, keep_empty=True).splits["all"].classes == ("ants", "bees", "cows")


def test_spoilt_files_are_left_out_and_the_first_of_each_kind_named(tmp_path: Path):
    root = save_folder(tmp_path, {"ants": 2, "bees": 2})
    whole = encoded(picture(64, 64))
    (root / "ants" / "half.jpg").write_bytes(whole[:-200])
    (root / "ants" / "none.jpg").touch()
    (root / "bees" / "letter.jpg").write_text("a letter, not an image")
    (root / "bees" / "png.jpg").write_bytes(encoded(picture(seed=99), "PNG"))
    tables = read_folder(root)
    assert tables.splits["all"].class_counts == (2, 3)
    assert tables.warnings == [
        f"{root}: 1 file left out because they are damaged, namely {root}/ants/half.jpg",
        f"{root}: 1 file left out because they are empty, namely {root}/ants/none.jpg",
        f"{root}: 1 file left out because they are no images, namely {root}/bees/letter.jpg",
    ]


def test_a_class_of_spoilt_files_only_is_refused(tmp_path: Path):
    root = save_folder(tmp_path, {"ants": 2, "bees": 0})
    (root / "bees" / "0.jpg").touch()
    with pytest.raises(
        DataError,
        match=rf"{root}/bees: none of its files can be used "
        rf"\({root}/bees/0\.jpg\)",
    ):
        read_folder(root)
    assert read_folder(root, keep_empty=True).splits["all"].class_counts == (2, 0)


def test_images_beside_the_class_directories_are_left_out_with_a_warning(tmp_path: Path):
    root = save_folder(tmp_path, {"ants": 1, "bees": 1, ".": 2})
    assert read_folder(root).warnings == [f"{root}: 2 images left out because in no class directory, such as 000.jpg"]


def test_odd_names_work(tmp_path: Path):
    long = "x" * 200
    root = save_folder(tmp_path / "my photos (2024) #1", {"éclair & crème": 1, long: 1, "日本語 クラス": 1, "a%20b": 1})
    (root / long / ("y" * 240 + ".jpg")).write_bytes(encoded(picture(seed=50)))
    split = read_folder(root).splits["all"]
    assert set(split.classes) == {"éclair & crème", long, "日本語 クラス", "a%20b"}
    assert all(split.image(index).size == (12, 10) for index in range(len(split)))


def test_a_class_name_means_the_same_in_both_unicode_forms(tmp_path: Path):
    root = save_folder(tmp_path, {"train/\u00e9": 2, "train/z": 2, "val/e\u0301": 1})
    tables = read_folder(root)
    assert tables.splits["train"].classes == ("z", "\u00e9")
    assert tables.splits["validation"].targets().tolist() == [1]


def test_a_linked_class_is_read_and_a_cycle_of_links_ends(tmp_path: Path):
    elsewhere = save_folder(tmp_path / "elsewhere", {"bees": 2})
    root = save_folder(tmp_path / "root", {"ants": 1})
    (root / "bees").symlink_to(elsewhere / "bees", target_is_directory=True)
    (root / "ants" / "loop").symlink_to(root / "ants", target_is_directory=True)
    assert read_folder(root).splits["all"].class_counts == (1, 2)


def test_ants_and_bees_are_read_as_they_are(shared_data: Path):
    tables = read_folder(shared_data / "ants_bees")
    assert {name: split.class_counts for name, split in tables.splits.items()} == {
        "train": (124, 121),
        "validation": (70, 83),
    }
    assert tables.warnings == []
