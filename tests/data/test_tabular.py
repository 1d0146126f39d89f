"""`metadata.csv`: columns, several labels, splits, and lines that are wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pictures import save_folder

from neocog.data import tabular
from neocog.data.tabular import read_csv
from neocog.errors import DataError


def listing(root: Path, text: str, *, images: int = 4, name: str = "metadata.csv") -> dict[str, Path]:
    """Write `images` images 000.jpg, 001.jpg, ... and a CSV file beside them."""
    save_folder(root, {".": images})
    (root / name).write_text(text, encoding="utf-8")
    return {"all": root / name}


def test_one_label_an_image(tmp_path: Path):
    paths = listing(tmp_path, 'file_name,label\n001.jpg,bee\n000.jpg,"ant, red"\n')
    split = read_csv(paths, "pets").splits["all"]
    assert split.classes == ("ant, red", "bee")
    assert split.targets().tolist() == [1, 0]
    assert split.source(0) == f"{tmp_path}/001.jpg"
    assert not split.multi_label


@pytest.mark.parametrize("header", ["Filename;Class", "path\tcategory", "image,target,ignored"])
def test_columns_are_known_by_several_names_and_separators(tmp_path: Path, header):
    separator = next(each for each in ",;\t" if each in header)
    extra = separator + "x" if "ignored" in header else ""
    rows = [f"{number:03d}.jpg{separator}{number % 2}{extra}" for number in range(4)]
    paths = listing(tmp_path, "\n".join(["\ufeff" + header, *rows]))
    assert read_csv(paths, "pets").splits["all"].targets().tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("separator", [";", "|", ", "])
def test_several_labels_in_one_column(tmp_path: Path, separator):
    text = f'file_name,labels\n000.jpg,"sea{separator}sky"\n001.jpg,sky\n002.jpg,\n'
    split = read_csv(listing(tmp_path, text), "views").splits["all"]
    assert split.multi_label
    assert split.classes == ("sea", "sky")
    assert split.targets().tolist() == [[1, 1], [0, 1], [0, 0]]


def test_several_labels_as_columns_of_zeros_and_ones(tmp_path: Path):
    text = "file_name,sky,sea,size\n000.jpg,1,0,12\n001.jpg,1,1,13\n002.jpg,,0,14\n"
    split = read_csv(listing(tmp_path, text), "views").splits["all"]
    assert split.multi_label
    assert split.classes == ("sea", "sky")
    assert split.targets().tolist() == [[0, 1], [1, 1], [0, 0]]


def test_columns_with_exactly_one_mark_a_line_are_a_single_label(tmp_path: Path):
    text = "file_name,ant,bee\n000.jpg,1,0\n001.jpg,0,1\n"
    split = read_csv(listing(tmp_path, text), "pets").splits["all"]
    assert not split.multi_label
    assert split.targets().tolist() == [0, 1]


def test_a_split_column_and_a_file_for_each_split_mean_the_same(tmp_path: Path):
    whole = "file_name,label,split\n000.jpg,a,train\n001.jpg,b,Train\n002.jpg,a,val\n003.jpg,b,test\n"
    tables = read_csv(listing(tmp_path, whole), "pets")
    assert {name: split.targets().tolist() for name, split in tables.splits.items()} == {
        "train": [0, 1],
        "validation": [0],
        "test": [1],
    }
    parts = {
        "train": listing(tmp_path / "train", "file_name,label\n000.jpg,a\n001.jpg,b\n")["all"],
        "test": listing(tmp_path / "test", "file_name,label\n000.jpg,b\n")["all"],
    }
    tables = read_csv(parts, "pets")
    assert {name: split.targets().tolist() for name, split in tables.splits.items()} == {"train": [0, 1], "test": [1]}


def test_damaged_images_are_left_out_with_a_warning(tmp_path: Path):
    paths = listing(tmp_path, "file_name,label\n000.jpg,a\n001.jpg,b\n002.jpg,b\n")
    (tmp_path / "001.jpg").write_bytes(b"")
    tables = read_csv(paths, "pets")
    assert tables.splits["all"].class_counts == (1, 1)
    assert tables.warnings == [f"pets: 1 file left out because they are empty, namely {tmp_path}/001.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name,label\n000.jpg,a\n",
            r"no column of image files; call one of its columns \(name, "
            r"label\) file_name",
        ),
        (
            "file_name,kind\n000.jpg,a\n",
            r"no column of labels; call one of its columns "
            r"\(file_name, kind\) label",
        ),
        (
            "file_name,label\n000.jpg,a\nnone.jpg,b\n",
            r"1 of 2 image files are missing, such as "
            "'none.jpg' in line 3",
        ),
        ("file_name,label\n000.jpg,a\n./x.jpg,b\n000.jpg,b\n", r"1 of 3 image files are missing"),
        (
            "file_name,label\n000.jpg,a\n001.jpg,b\n000.jpg,b\n",
            r"listed more than once, such as "
            "'000.jpg' in lines 2, 4",
        ),
        ("file_name,label\n000.jpg,a\n001.jpg,\n", r"line 3: no label; fill it in"),
        ("file_name,label\n000.jpg,a\n001.jpg\n", r"line 3: 1 values for 2 columns"),
        ("file_name,label,split\n000.jpg,a,train\n001.jpg,b,later\n", r"line 3: split 'later' is none of"),
        ("file_name,label\n", r"it lists no images"),
        ("", r"no column of image files|it lists no images"),
    ],
)
def test_wrong_lines_and_columns_are_named(tmp_path: Path, text, message):
    paths = listing(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        read_csv(paths, "pets")
    assert str(caught.value).startswith(str(tmp_path / "metadata.csv"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path):
    paths = listing(tmp_path, "")
    paths["all"].write_bytes(b"file_name,label\n\xff\xfe\x00\x01,a\n")
    with pytest.raises(DataError, match=r"metadata\.csv: not a CSV file in UTF-8"):
        read_csv(paths, "pets")


def test_the_columns_that_the_docstring_lists_are_those_that_are_known():
    points = [line for line in (tabular.__doc__ or "").splitlines() if line.startswith("- ")]
    assert len(points) == 5
    for point, names in zip(points, (tabular._FILE, tabular._ONE, tabular._SEVERAL), strict=False):
        assert tuple(re.findall("`(.*?)`", point)) == names
