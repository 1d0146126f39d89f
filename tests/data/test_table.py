"""`Split`: images, labels, classes and what a recipe asks about them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from pictures import encoded, picture, save_folder

from neocog.data.folder import read_folder
from neocog.data.rows import image_structs, make_rows
from neocog.data.table import Split
from neocog.errors import DataError


def table(pictures: list[bytes], labels: list, classes=("a", "b", "c"), multi_label=False) -> Split:
    rows = make_rows(image_structs(encoded=pictures), labels, classes, multi_label)
    return Split(rows, tuple(classes), "set/train", multi_label)


def pictures(count: int, *sizes: tuple[int, int], mode: str = "RGB") -> list[bytes]:
    return [encoded(picture(*sizes[seed % len(sizes)], mode, seed), "PNG") for seed in range(count)]


def test_images_and_labels_of_a_table():
    split = table(pictures(3, (8, 6)), [2, 0, 2])
    assert len(split) == 3
    assert split.image(1).tobytes() == picture(8, 6, seed=1).tobytes()
    assert split.image(1, channels=1).mode == "L"
    assert split.targets().dtype == torch.int64
    assert split.targets().tolist() == [2, 0, 2]
    assert split.class_counts == (1, 0, 2)


def test_several_labels_are_zeros_and_ones():
    split = table(pictures(3, (8, 6)), [[2, 0], [], [1]], multi_label=True)
    assert split.targets().dtype == torch.float32
    assert split.targets().tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert split.class_counts == (1, 1, 1)


def test_selected_rows_still_tell_where_they_came_from():
    split = table(pictures(5, (8, 6)), [0, 1, 2, 0, 1])
    chosen = split.select([4, 2, 0], "set/validation")
    assert chosen.name == "set/validation"
    assert chosen.targets().tolist() == [1, 2, 0]
    assert chosen.image(0).tobytes() == picture(8, 6, seed=4).tobytes()
    assert [chosen.source(index) for index in range(3)] == ["set/train[4]", "set/train[2]", "set/train[0]"]
    assert chosen.select([1]).source(0) == "set/train[2]"


def test_an_image_that_cannot_be_decoded_is_named():
    split = table([*pictures(2, (8, 6)), b"not an image"], [0, 1, 2])
    with pytest.raises(DataError, match=r"^set/train\[2\]: not an image"):
        split.image(2)


@pytest.mark.parametrize("multi_label", [False, True])
def test_labels_follow_the_names_of_another_order(multi_label):
    labels = [[2, 0], [], [1]] if multi_label else [2, 0, 1]
    split = table(pictures(3, (8, 6)), labels, multi_label=multi_label)
    turned = split.with_classes(("c", "a", "b"))
    assert turned.classes == ("c", "a", "b")
    assert turned.targets().tolist() == ([[1, 1, 0], [0, 0, 0], [0, 0, 1]] if multi_label else [0, 1, 2])
    assert turned.image(2).tobytes() == split.image(2).tobytes()
    assert split.with_classes(split.classes) is split


def test_other_classes_are_an_error_with_both_lists():
    split = table(pictures(1, (8, 6)), [0])
    with pytest.raises(DataError, match=r"data: a, b, c; model: a, b;"):
        split.with_classes(("a", "b"))
    with pytest.raises(DataError, match=r"model: 0, 1, 2, 3, 4, \.\.\. \(1000 in all\)"):
        split.with_classes([str(number) for number in range(1000)])


@pytest.mark.parametrize(
    ("sizes", "small"), [([(32, 32)], True), ([(64, 48)], True), ([(65, 20)], False), ([(32, 32), (32, 31)], False)]
)
def test_small_means_one_size_of_at_most_64_pixels(sizes, small):
    assert table(pictures(6, *sizes), [0] * 6).small is small


def test_images_that_would_fill_the_memory_are_not_small(monkeypatch: pytest.MonkeyPatch):
    split = table(pictures(4, (32, 32)), [0] * 4)
    monkeypatch.setattr("neocog.data.table._free_memory", lambda: 4 * (4 * 3 * 32 * 32) - 1)
    assert not split.small
    monkeypatch.setattr("neocog.data.table._free_memory", lambda: 4 * (4 * 3 * 32 * 32))
    assert split.small


def test_size_is_the_median_as_seen_upright(tmp_path: Path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    lying = encoded(picture(30, 20), exif=exif)  # 20 wide and 30 high, once upright
    assert table([lying, *pictures(2, (21, 31), (22, 32))], [0, 0, 0]).image_size == (31, 21)


def test_grey_is_told_from_colour():
    assert table(pictures(3, (8, 8), mode="L"), [0] * 3).channels == 1
    assert table([*pictures(2, (8, 8), mode="L"), *pictures(1, (8, 8))], [0] * 3).channels == 3


def test_a_split_of_files_can_be_sent_to_another_process(tmp_path: Path):
    split = read_folder(save_folder(tmp_path, {"a": 2, "b": 1})).splits["all"]
    copy = pickle.loads(pickle.dumps(split))
    assert copy.targets().tolist() == [0, 0, 1]
    assert copy.image(2).tobytes() == split.image(2).tobytes()
