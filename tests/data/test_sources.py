"""From what a user names to splits: the rules that hold for every kind of source."""

from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import pytest
from pictures import encoded, picture, save_folder, write_shard

from neocog.data import load_data, load_split
from neocog.errors import DataError, UsageError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return save_folder(tmp_path / "pets", {"cats": 20, "dogs": 10})


def parquet(path: Path, labels: list[int], first_seed: int = 0) -> Path:
    pictures = [encoded(picture(seed=first_seed + seed), "PNG") for seed in range(len(labels))]
    features = datasets.Features(
        {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["cats", "dogs"])}
    )
    columns = {"image": [{"bytes": each, "path": None} for each in pictures], "label": labels}
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path)
    return path


def test_validation_is_held_out_of_a_folder_class_by_class(pets: Path):
    splits = load_data(pets, validation=0.2)
    assert splits.class_counts == (16, 8)
    assert splits.validation.class_counts == (4, 2)
    assert splits.test is None
    assert (splits.images, splits.classes, splits.multi_label) == (24, ("cats", "dogs"), False)
    assert (splits.image_size, splits.channels, splits.small) == ((10, 12), 3, True)
    sources = [{split.source(row) for row in range(len(split))} for split in (splits.train, splits.validation)]
    assert not sources[0] & sources[1]
    assert splits.warnings == ()


def test_the_same_images_are_held_out_wherever_the_folder_lies(pets: Path, tmp_path: Path):
    moved = Path(shutil.copytree(pets, tmp_path / "elsewhere" / "animals"))

    def held_out(root: Path, seed: int) -> list[str]:
        split = load_data(root, seed=seed).validation
        return [Path(split.source(row)).relative_to(root).as_posix() for row in range(len(split))]

    assert held_out(pets, seed=3) == held_out(moved, seed=3)
    assert held_out(pets, seed=3) != held_out(pets, seed=4)


def test_the_test_split_is_never_touched(tmp_path: Path):
    root = save_folder(tmp_path, {"train/a": 10, "train/b": 10, "test/a": 3, "test/b": 3})
    splits = load_data(root)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (18, 2, 6)
    assert all("/train/" in splits.validation.source(row) for row in range(2))


def test_a_validation_split_that_is_there_is_used(tmp_path: Path):
    splits = load_data(save_folder(tmp_path, {"train/a": 4, "train/b": 4, "val/a": 3, "val/b": 2}))
    assert (len(splits.train), len(splits.validation), splits.test) == (8, 5, None)


def test_nothing_is_held_out_where_nothing_is_asked_for(pets: Path):
    splits = load_data(pets, validation=0)
    assert (len(splits.train), splits.validation) == (30, None)
    with pytest.raises(UsageError, match="share of the training images below 1"):
        load_data(pets, validation=1.5)


def test_a_class_of_one_image_stays_in_training_with_a_warning(tmp_path: Path):
    splits = load_data(save_folder(tmp_path, {"a": 5, "b": 1}))
    assert (splits.class_counts, splits.validation.class_counts) == ((4, 1), (1, 0))
    assert splits.warnings == (f"{tmp_path}: a single image of b, which stays in training; add more",)


def test_classes_too_small_to_divide_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="too few images to hold out"):
        load_data(save_folder(tmp_path, {"a": 1, "b": 1}))


def test_one_class_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"there is one class only \(cats\); a classifier needs at least two"):
        load_data(save_folder(tmp_path, {"cats": 4}))
    with pytest.raises(DataError, match="one class only"):
        load_data(save_folder(tmp_path / "again", {"cats": 4, "dogs": 0}))


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_that_training_lacks_is_refused(tmp_path: Path, split):
    root = save_folder(tmp_path, {"train/a": 2, "train/b": 2, f"{split}/a": 1, f"{split}/zebra": 1})
    with pytest.raises(DataError, match="images of zebra, which no training image shows"):
        load_data(root)


def test_the_same_image_in_two_splits_is_warned_of(tmp_path: Path):
    root = save_folder(tmp_path, {"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2})
    shutil.copy(root / "train" / "a" / "001.jpg", root / "val" / "a" / "copy.jpg")
    assert load_data(root, validation=0.2).warnings == (
        f"{root}: 1 image is in both train and validation, such as {root}/val/a/copy.jpg; "
        "remove it from one of the two",
    )


def test_a_copy_that_comes_to_be_held_out_is_warned_of_too(tmp_path: Path):
    root = save_folder(tmp_path, {"a": 1, "b": 10})
    shutil.copy(root / "a" / "000.jpg", root / "a" / "copy.jpg")
    assert "in both train and validation" in load_data(root).warnings[0]


def test_a_folder_with_a_list_is_read_by_the_list(pets: Path):
    rows = [f"cats/{number:03d}.jpg,{'ginger' if number % 2 else 'black'}" for number in range(8)]
    (pets / "metadata.csv").write_text("\n".join(["file_name,label", *rows]))
    assert load_data(pets).classes == ("black", "ginger")
    assert load_data(pets / "metadata.csv").classes == ("black", "ginger")


def test_lists_within_split_directories(tmp_path: Path):
    root = save_folder(tmp_path, {"train": 4, "test": 2})
    (root / "train" / "metadata.csv").write_text("file_name,label\n000.jpg,a\n001.jpg,b\n002.jpg,a\n003.jpg,b\n")
    (root / "test" / "metadata.csv").write_text("file_name,label\n000.jpg,a\n001.jpg,b\n")
    splits = load_data(root)
    assert (splits.class_counts, splits.validation.class_counts, splits.test.class_counts) == ((1, 1), (1, 1), (1, 1))


@pytest.mark.parametrize("inner", ["", "data", "plain_text"])
def test_a_folder_of_parquet_files(tmp_path: Path, inner):
    parquet(tmp_path / inner / "train-00000.parquet", [0, 1] * 10)
    parquet(tmp_path / inner / "test-00000.parquet", [0, 1], first_seed=100)
    splits = load_data(tmp_path)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (18, 2, 2)
    assert splits.validation.source(0).startswith(f"{tmp_path}/train[")


def test_a_folder_of_shards(tmp_path: Path):
    members: dict[str, bytes] = {}
    for seed in range(20):
        members |= {f"{seed}.jpg": encoded(picture(seed=seed)), f"{seed}.cls": b"ab"[seed % 2 : seed % 2 + 1]}
    write_shard(tmp_path / "some-000.tar", members)
    splits = load_data(tmp_path)
    assert (splits.class_counts, splits.validation.class_counts) == ((9, 9), (1, 1))
    assert splits.validation.image(0).size == (12, 10)
    copied = write_shard(tmp_path / "test-000.tar", {"x.jpg": members["3.jpg"], "x.cls": b"b"})
    assert f"such as {copied}/x.jpg" in load_data(tmp_path).warnings[0]


@pytest.mark.parametrize("inside", [True, False])
def test_data_dir_points_a_name_at_a_local_copy(tmp_path: Path, inside):
    place = tmp_path / "cifar10" if inside else tmp_path
    parquet(place / "train.parquet", [0, 1] * 10)
    parquet(place / "test.parquet", [0, 1], first_seed=100)
    splits = load_data("cifar10", data_dir=tmp_path)
    assert splits.name == "cifar10"
    assert splits.test.source(1) == "cifar10/test[1]"
    assert splits.validation.source(0).startswith("cifar10/train[")


def test_data_dir_may_hold_a_folder_of_classes(tmp_path: Path):
    save_folder(tmp_path / "imagenet", {"train/n01": 4, "train/n02": 4, "val/n01": 1, "val/n02": 1})
    splits = load_data("imagenet", data_dir=tmp_path)
    assert (splits.name, splits.classes, len(splits.validation)) == ("imagenet", ("n01", "n02"), 2)


def test_data_dir_goes_with_a_name_and_must_exist(tmp_path: Path, pets: Path):
    with pytest.raises(UsageError, match="data_dir says where the copy of a named set is"):
        load_data(pets, data_dir=tmp_path)
    with pytest.raises(DataError, match="no such folder for cifar10"):
        load_data("cifar10", data_dir=tmp_path / "nowhere")


def test_the_digits_need_nothing():
    splits = load_data("digits")
    assert (len(splits.train) + len(splits.validation), len(splits.test)) == (1438, 359)
    assert 0.09 < len(splits.validation) / 1438 < 0.11
    assert splits.small


def test_a_known_name_goes_before_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_folder(tmp_path / "digits", {"a": 2, "b": 2})
    monkeypatch.chdir(tmp_path)
    splits = load_data("digits")
    assert "digits is the known data set; write ./digits for the folder of that name" in splits.warnings
    assert load_data("./digits").classes == ("a", "b")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("cifer10", "did you mean cifar10"),
        ("pats", "did you mean pets"),
        ("nowhere/at/all", "no such folder or file, and no data set of that name"),
        ("pets/cuts", r"did you mean pets/cats"),
        ("someone/something", r"cannot be fetched from the Hugging Face hub"),
        ("notes.txt", "not a data set; give a folder or"),
        ("pets/cats/000.jpg", "one image is no data set"),
    ],
)
def test_a_source_that_is_none_is_answered_with_what_was_meant(pets: Path, monkeypatch, source, message):
    (pets.parent / "notes.txt").write_text("notes")
    monkeypatch.chdir(pets.parent)
    with pytest.raises(DataError, match=message) as caught:
        load_data(source)
    assert str(caught.value).startswith(source)
    assert "\n" not in str(caught.value)


def test_a_source_with_nothing_to_train_on_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="there is no training split, only test"):
        load_data(save_folder(tmp_path, {"test/a": 2, "test/b": 2}))


def test_evaluation_takes_test_then_validation_then_everything(tmp_path: Path):
    counts = {f"{split}/{name}": 2 for split in ("train", "val", "test") for name in ("a", "b")}
    root = save_folder(tmp_path, counts)
    assert load_split(root).name == f"{root}/test"
    shutil.rmtree(root / "test")
    assert load_split(root).name == f"{root}/validation"
    shutil.rmtree(root / "val")
    with pytest.raises(DataError, match="there is no test or validation split, only train"):
        load_split(root)
    assert load_split(root, split="train").name == f"{root}/train"
    assert load_split(root / "train").name == f"{root}/train"
    with pytest.raises(DataError, match="there is no split val, only train"):
        load_split(root, split="val")


def test_evaluation_matches_labels_to_the_models_classes_by_name(pets: Path):
    split = load_split(pets, classes=("dogs", "cats"))
    assert (split.classes, split.class_counts) == (("dogs", "cats"), (10, 20))
    with pytest.raises(DataError, match="data: cats, dogs; model: cats, dogs, wolves"):
        load_split(pets, classes=("cats", "dogs", "wolves"))
    (pets / "wolves").mkdir()
    split = load_split(pets, classes=("cats", "dogs", "wolves"))
    assert split.class_counts == (20, 10, 0)
    assert split.warnings == (f"{pets}/wolves: the class directory is empty",)


def test_evaluation_takes_a_folder_of_one_class(tmp_path: Path):
    assert load_split(save_folder(tmp_path, {"cats": 2})).class_counts == (2,)
