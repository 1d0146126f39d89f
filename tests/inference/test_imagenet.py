"""ImageNet's classes are known by every name they go by, and several right labels are measured as timm does."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from PIL import Image
from timm.data import ImageNetInfo
from timm.data.real_labels import RealLabelsImagenet

from neocog.catalog import imagenet_classes
from neocog.data.sources import load_split
from neocog.errors import DataError, UsageError
from neocog.inference.imagenet import (
    class_columns,
    imagenet_numbers,
    match_split,
    measure_real,
    read_real_labels,
    real_labels,
)

WORDS = tuple(word for _, word in imagenet_classes())
IDS = tuple(wordnet for wordnet, _ in imagenet_classes())


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(path)


def test_the_numbers_are_those_of_timms_list() -> None:
    assert tuple(ImageNetInfo().label_names()) == IDS
    for names in (WORDS, IDS, tuple(str(number) for number in range(1000))):
        assert imagenet_numbers(names) == tuple(range(1000))


def test_numbers_count_as_numbers_and_not_as_words() -> None:
    # A folder sorted by name has 0, 1, 10, 100, ...: number 10 is then the third, and still a brambling.
    by_name = sorted(str(number) for number in range(1000))
    assert by_name[2] == "10"
    assert imagenet_numbers(by_name) == tuple(int(name) for name in by_name)
    assert WORDS[10] == "brambling"


def test_lists_of_all_words_for_each_class_are_recognised_by_their_order() -> None:
    info = ImageNetInfo()
    descriptions = [info.label_name_to_description(name) for name in IDS]
    assert descriptions[1] == "goldfish, Carassius auratus"
    assert imagenet_numbers(descriptions) == tuple(range(1000))
    assert imagenet_numbers(descriptions[::-1]) is None


def test_other_classes_are_not_taken_for_imagenets() -> None:
    assert imagenet_numbers([str(digit) for digit in range(10)]) is None
    assert imagenet_numbers([str(number) for number in range(1, 1001)]) is None
    assert imagenet_numbers(["ants", "bees"]) is None
    assert imagenet_numbers([]) is None


def test_classes_are_matched_by_name_or_as_imagenets() -> None:
    assert class_columns(("a", "b", "c"), ("c", "a", "b")) == [1, 2, 0]
    assert class_columns(WORDS, IDS[::-1]) == list(range(999, -1, -1))
    assert class_columns(("a", "b"), ("a", "c")) is None
    assert class_columns(("a", "b"), ("a", "b", "c")) is None


def test_a_folder_of_numbers_is_measured_by_its_numbers(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / str(number)).mkdir()
    for number in (2, 10, 100, 999):
        picture(tmp_path / str(number) / f"{number}.png")
    split = match_split(load_split(tmp_path), WORDS)
    assert split.classes == WORDS
    found = {Path(split.source(index)).stem: label for index, label in enumerate(split.targets().tolist())}
    assert found == {"2": 2, "10": 10, "100": 100, "999": 999}


def test_a_folder_of_some_wordnet_ids_says_how_many_they_are(tmp_path: Path) -> None:
    picture(tmp_path / "n01440764" / "a.png")
    picture(tmp_path / "n01530575" / "b.png")
    split = match_split(load_split(tmp_path), WORDS)
    assert split.targets().tolist() == [0, 10]
    assert any("2 of ImageNet's 1,000 classes" in line for line in split.warnings)


def test_a_table_with_the_hubs_class_names_is_measured(tmp_path: Path) -> None:
    info = ImageNetInfo()
    names = [info.label_name_to_description(name) for name in IDS]
    names = [f"{name}2" if name in names[:place] else name for place, name in enumerate(names)]  # a second "crane"
    picture(tmp_path / "a.png")
    image = {"bytes": (tmp_path / "a.png").read_bytes(), "path": "ILSVRC2012_val_00000002_n01530575.JPEG"}
    features = Features(
        {"image": {"bytes": Value("binary"), "path": Value("string")}, "label": ClassLabel(names=names)}
    )
    table = Dataset.from_dict({"image": [image, image], "label": [10, 999]}, features=features)
    table.to_parquet(tmp_path / "validation.parquet")
    split = match_split(load_split(tmp_path / "validation.parquet"), WORDS)
    assert split.targets().tolist() == [10, 999]
    (tmp_path / "real.json").write_text(json.dumps([[0], [10, 11]]))
    assert real_labels(split, tmp_path / "real.json") == [[10, 11], [10, 11]]


def test_some_numbers_are_no_answer_for_imagenet(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / str(number) / "a.png")
    with pytest.raises(DataError, match="all of 0 to 999") as caught:
        match_split(load_split(tmp_path), WORDS)
    assert "tench" in str(caught.value)


def test_a_model_of_other_classes_is_matched_by_name_alone(tmp_path: Path) -> None:
    picture(tmp_path / "n01440764" / "a.png")
    picture(tmp_path / "n01530575" / "b.png")
    with pytest.raises(DataError, match="not the model's"):
        match_split(load_split(tmp_path), ("tench", "brambling"))


def test_accuracy_by_several_right_labels_is_timms() -> None:
    text = files("timm.data").joinpath("_info/imagenet_real_labels.json").read_text()
    labels = json.loads(text)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(len(labels), 1000, generator=generator)
    for row, right in enumerate(labels):  # mostly right, so that the figures say something
        if right and row % 3:
            logits[row, right[row % len(right)]] += 5.0
    theirs = RealLabelsImagenet([f"ILSVRC2012_val_{number + 1:08d}.JPEG" for number in range(len(labels))])
    theirs.add_result(logits)
    ours = measure_real(logits, labels, WORDS)
    assert 100 * ours.top1 == pytest.approx(theirs.get_accuracy(1))
    assert 100 * ours.top5 == pytest.approx(theirs.get_accuracy(5))
    assert 0.3 < ours.top1 < ours.top5 < 1
    assert (ours.images, ours.left_out) == (46_837, 3_163)  # Beyer et al. 2020, section 3.4: 3,163 without a label


def test_the_models_order_of_classes_does_not_matter() -> None:
    logits = torch.randn(8, 1000, generator=torch.Generator().manual_seed(0))
    right = [[int(row.argmax())] if number % 2 else [0] for number, row in enumerate(logits)]
    turned = torch.randperm(1000, generator=torch.Generator().manual_seed(1))
    names = [WORDS[place] for place in turned]
    assert measure_real(logits[:, turned], right, names) == measure_real(logits, right, WORDS)


def test_labels_are_found_by_the_number_in_a_files_name(tmp_path: Path) -> None:
    for number, wordnet in ((3, "n01440764"), (1, "n01530575"), (2, "n01440764")):
        picture(tmp_path / "val" / wordnet / f"ILSVRC2012_val_{number:08d}.JPEG")
    (tmp_path / "real.json").write_text(json.dumps([[10], [], [0, 5]]))
    split = match_split(load_split(tmp_path / "val"), WORDS)
    right = real_labels(split, tmp_path / "real.json")
    assert right == [[], [0, 5], [10]]  # in the order of the folders: images 2, 3, 1
    logits = torch.zeros(3, 1000)
    logits[0, 7], logits[1, 5], logits[2, 9] = 1, 1, 1
    found = measure_real(logits, right, WORDS)
    assert (found.images, found.left_out, found.top1) == (2, 1, 0.5)


@pytest.mark.parametrize(
    "text", ["{}", "[[1], 2]", "[[1000]]", "[[-1]]", "[[true]]", '[["1"]]', "no", "", "[" * 200_000]
)
def test_a_file_that_holds_no_such_labels_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "real.json").write_text(text)
    with pytest.raises(DataError, match=r"real\.json"):
        read_real_labels(tmp_path / "real.json")


def test_what_cannot_be_measured_by_them_is_said(tmp_path: Path) -> None:
    picture(tmp_path / "val" / "n01440764" / "tench.png")
    picture(tmp_path / "val" / "n01530575" / "ILSVRC2012_val_00000009.JPEG")
    (tmp_path / "real.json").write_text(json.dumps([[10], []]))
    split = match_split(load_split(tmp_path / "val"), WORDS)
    with pytest.raises(DataError, match=r"tench\.png is not called"):
        real_labels(split, tmp_path / "real.json")
    with pytest.raises(DataError, match="2 labels, and none for ILSVRC2012_val_00000009"):
        real_labels(split.select([1]), tmp_path / "real.json")
    with pytest.raises(DataError, match="cannot be read"):
        real_labels(split, tmp_path / "absent.json")
    with pytest.raises(UsageError, match="1,000 classes"):
        measure_real(torch.zeros(2, 3), [[1], [2]], ("a", "b", "c"))
    with pytest.raises(DataError, match="none of the images"):
        measure_real(torch.zeros(2, 1000), [[], []], WORDS)
