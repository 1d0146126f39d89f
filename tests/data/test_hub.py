"""Parquet files and data sets of the hub: columns found by their types."""

from __future__ import annotations

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import encoded, picture

from neocog.data.hub import read_hub, read_parquet
from neocog.errors import DataError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def rows(labels: list, *, image: str = "image", label: str = "label", kind=None, **more: tuple[list, object]):
    """A table as the hub has it, with the given column names and type of label."""
    structs = [{"bytes": encoded(picture(seed=seed), "PNG"), "path": None} for seed in range(len(labels))]
    columns = {image: structs, label: labels, **{name: values for name, (values, _) in more.items()}}
    features = {
        image: datasets.Image(decode=False),
        label: kind or datasets.ClassLabel(names=["ant", "bee"]),
        **{name: feature for name, (_, feature) in more.items()},
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def offer(monkeypatch: pytest.MonkeyPatch, **splits: datasets.Dataset) -> None:
    """Let the hub have a data set of these splits."""
    monkeypatch.setattr(datasets, "load_dataset", lambda *_names: datasets.DatasetDict(splits))


def test_parquet_files_of_two_splits(tmp_path: Path):
    rows([0, 1, 1]).to_parquet(tmp_path / "train-00000-of-00002.parquet")
    rows([1]).to_parquet(tmp_path / "train-00001-of-00002.parquet")
    rows([0]).to_parquet(tmp_path / "test.parquet")
    tables = read_parquet(list(tmp_path.iterdir()), "pets")
    assert {name: split.targets().tolist() for name, split in tables.splits.items()} == {
        "train": [0, 1, 1, 1],
        "test": [0],
    }
    split = tables.splits["train"]
    assert split.classes == ("ant", "bee")
    assert split.image(1).tobytes() == picture(seed=1).tobytes()
    assert split.source(3) == "pets/train[3]"


def test_a_parquet_file_of_no_split_without_the_hubs_schema(tmp_path: Path):
    pictures = [encoded(picture(seed=seed)) for seed in range(3)]
    plain = pa.table({"jpeg": pictures, "category": ["dog", "cat", "dog"], "width": [1, 2, 3]})
    pq.write_table(plain, tmp_path / "pets.parquet")
    tables = read_parquet([tmp_path / "pets.parquet"], "pets")
    assert list(tables.splits) == ["all"]
    assert tables.splits["all"].classes == ("cat", "dog")
    assert tables.splits["all"].targets().tolist() == [1, 0, 1]
    assert tables.splits["all"].image(2).size == (12, 10)


def test_cifar10_and_mnist_are_read_as_they_are(shared_data: Path):
    cifar = read_parquet(list((shared_data / "cifar10").iterdir()), "cifar10").splits
    assert {name: set(split.class_counts) for name, split in cifar.items()} == {"train": {5000}, "test": {1000}}
    assert cifar["train"].classes[:3] == ("airplane", "automobile", "bird")
    assert (cifar["test"].small, cifar["test"].image_size, cifar["test"].channels) == (True, (32, 32), 3)
    mnist = read_parquet([shared_data / "mnist" / "test.parquet"], "mnist").splits["test"]
    assert mnist.targets()[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]  # the original order
    assert mnist.channels == 1


def test_damaged_parquet_is_named(tmp_path: Path):
    (tmp_path / "train.parquet").write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(
        DataError,
        match=r"^pets: the parquet files cannot be read "
        r"\(.*Parquet.*\); copy them again",
    ):
        read_parquet([tmp_path / "train.parquet"], "pets")


@pytest.mark.parametrize("image", ["img", "image", "picture"])
@pytest.mark.parametrize("label", ["fine_label", "label", "species"])
def test_columns_are_found_by_type_whatever_they_are_called(monkeypatch, image, label):
    offer(monkeypatch, train=rows([0, 1], image=image, label=label, id=(["x", "y"], datasets.Value("string"))))
    split = read_hub("some/pets").splits["train"]
    assert split.rows.column_names == ["image", "label"]
    assert split.targets().tolist() == [0, 1]


def test_fine_labels_go_before_coarse_ones(monkeypatch: pytest.MonkeyPatch):
    coarse = ([0, 0], datasets.ClassLabel(names=["animal"]))
    offer(monkeypatch, train=rows([0, 1], label="fine_label", coarse_label=coarse))
    assert read_hub("cifar100", "uoft-cs/cifar100").splits["train"].classes == ("ant", "bee")


def test_numbers_and_names_make_the_same_classes_in_every_split(monkeypatch: pytest.MonkeyPatch):
    number, word = datasets.Value("int64"), datasets.Value("string")
    offer(monkeypatch, train=rows([5, 10, 5], kind=number), validation=rows([10], kind=number))
    splits = read_hub("some/pets").splits
    assert splits["train"].classes == splits["validation"].classes == ("5", "10")
    assert splits["validation"].targets().tolist() == [1]
    offer(monkeypatch, train=rows(["zebra", "ant"], kind=word))
    assert read_hub("some/pets").splits["train"].classes == ("ant", "zebra")


def test_several_labels_an_image(monkeypatch: pytest.MonkeyPatch):
    names = datasets.List(datasets.ClassLabel(names=["sea", "sky"]))
    offer(monkeypatch, train=rows([[0, 1], []], label="labels", kind=names))
    split = read_hub("some/views").splits["train"]
    assert split.multi_label
    assert split.targets().tolist() == [[1, 1], [0, 0]]


def test_images_without_a_label_are_left_out_with_a_warning(monkeypatch: pytest.MonkeyPatch):
    offer(monkeypatch, train=rows([0, -1, 1]), test=rows([-1, -1]))
    tables = read_hub("some/pets")
    assert set(tables.splits) == {"train"}
    assert tables.splits["train"].targets().tolist() == [0, 1]
    assert tables.splits["train"].image(1).tobytes() == picture(seed=2).tobytes()
    assert tables.warnings == [
        "some/pets/train: 1 of 3 images have no label; not used",
        "some/pets/test: 2 of 2 images have no label; not used",
    ]


def test_splits_of_other_names_are_left_out_unless_they_are_the_only_one(monkeypatch: pytest.MonkeyPatch):
    offer(monkeypatch, train=rows([0, 1]), extra=rows([0, 1]))
    tables = read_hub("some/pets")
    assert (set(tables.splits), tables.warnings) == ({"train"}, ["some/pets: its split extra is not used"])
    offer(monkeypatch, corpus=rows([0, 1]))
    assert set(read_hub("some/pets").splits) == {"all"}
    offer(monkeypatch, one=rows([0, 1]), two=rows([0, 1]))
    with pytest.raises(DataError, match=r"none of its splits \(one, two\)"):
        read_hub("some/pets")


def test_tables_without_images_or_labels_are_refused_with_their_columns(monkeypatch: pytest.MonkeyPatch):
    text = datasets.Dataset.from_dict({"text": ["a"], "label": [0]})
    offer(monkeypatch, train=text)
    with pytest.raises(DataError, match=r"some/texts/train: there is no image column among text, label"):
        read_hub("some/texts")
    offer(monkeypatch, train=rows([0, 1], label="weight", kind=datasets.Value("int64")))
    with pytest.raises(DataError, match=r"no column of labels can be told among image, weight"):
        read_hub("some/scales")


def test_a_hub_out_of_reach_is_one_clear_line():
    with pytest.raises(
        DataError,
        match=r"^cifar10: uoft-cs/cifar10 cannot be fetched .*local "
        "copy",
    ) as caught:
        read_hub("cifar10", "uoft-cs/cifar10")
    assert "\n" not in str(caught.value)


def test_a_hub_out_of_reach_is_not_tried_at_length_and_the_cache_is_looked_at(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("neocog._hub._unreachable", {})
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    asked: list[bool] = []

    def load(*names: object) -> datasets.DatasetDict:
        asked.append(datasets.config.HF_HUB_OFFLINE)
        if len(asked) == 1:
            raise ConnectionError("Couldn't reach 'some/pets' on the Hub (OfflineModeIsEnabled)")
        return datasets.DatasetDict(train=rows([0, 1]))

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(DataError, match=r"cannot be fetched from the Hugging Face hub \(.*[Cc]onnection.*\)"):
        read_hub("some/pets")
    assert len(read_hub("some/pets").splits["train"]) == 2  # it was in the cache
    assert asked == [True, True]
    assert datasets.config.HF_HUB_OFFLINE is False
