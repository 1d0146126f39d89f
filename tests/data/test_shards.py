"""webdataset shards, read in place."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
from pictures import encoded, picture, write_shard

from neocog.data.shards import read_shards
from neocog.errors import DataError


def test_images_are_read_from_their_place_in_the_shard(tmp_path: Path):
    pictures = [encoded(picture(seed=seed), kind) for seed, kind in enumerate(["JPEG", "PNG", "JPEG"])]
    first = write_shard(
        tmp_path / "data-000.tar",
        {
            "a/0.jpg": pictures[0],
            "a/0.cls": b"7\n",
            "a/1.png": pictures[1],
            "a/1.json": json.dumps({"label": 10}).encode(),
        },
    )
    second = write_shard(tmp_path / "data-001.tar", {"0.cls": b"7", "0.jpg": pictures[2], "0.txt": b"a caption"})
    tables = read_shards([second, first], "shards")
    split = tables.splits["all"]
    assert split.classes == ("7", "10")
    assert split.targets().tolist() == [0, 1, 0]
    assert [split.image(index).tobytes() for index in range(3)] == [
        picture_of.tobytes() for picture_of in map(decode, pictures)
    ]
    assert split.source(1) == f"{first}/a/1.png"
    assert tables.keys["all"] == ["data-000.tar/a/0.jpg", "data-000.tar/a/1.png", "data-001.tar/0.jpg"]


def decode(data: bytes):
    from PIL import Image

    return Image.open(io.BytesIO(data)).convert("RGB")


def test_shard_names_tell_the_splits_and_a_list_names_the_classes(tmp_path: Path):
    for name, label in (("train-00", b"0"), ("train-01", b"1"), ("val-00", b"1"), ("imagenet_test_0", b"0")):
        write_shard(tmp_path / f"{name}.tar", {"x.jpg": encoded(picture()), "x.cls": label})
    (tmp_path / "classes.txt").write_text("zebra\nant\n")
    tables = read_shards(sorted(tmp_path.glob("*.tar")), "set")
    assert {name: split.targets().tolist() for name, split in tables.splits.items()} == {
        "test": [1],
        "train": [1, 0],
        "validation": [0],
    }
    assert tables.splits["train"].classes == ("ant", "zebra")
    (tmp_path / "classes.txt").write_text("zebra\n")
    with pytest.raises(DataError, match=r"names 1 classes, but .* is of class 1"):
        read_shards(sorted(tmp_path.glob("*.tar")), "set")


def test_several_labels_an_image(tmp_path: Path):
    members = {}
    for key, labels in (("0", ["sky", "sea"]), ("1", ["sky"])):
        members |= {f"{key}.jpg": encoded(picture()), f"{key}.json": json.dumps({"labels": labels}).encode()}
    split = read_shards([write_shard(tmp_path / "views.tar", members)], "views").splits["all"]
    assert split.multi_label
    assert split.targets().tolist() == [[1, 1], [0, 1]]


def test_damaged_images_are_left_out_with_a_warning(tmp_path: Path):
    half = encoded(picture(64, 64))[:-300]
    members = {"0.jpg": encoded(picture()), "0.cls": b"a", "1.jpg": half, "1.cls": b"b", "2.jpg": b"", "2.cls": b"b"}
    tables = read_shards([write_shard(tmp_path / "some.tar", members)], "some")
    assert len(tables.splits["all"]) == 1
    assert tables.warnings == [
        f"some: 1 file left out because they are damaged, namely {tmp_path}/some.tar/1.jpg",
        f"some: 1 file left out because they are empty, namely {tmp_path}/some.tar/2.jpg",
    ]


def test_a_sample_without_a_class_is_named(tmp_path: Path):
    shard = write_shard(tmp_path / "some.tar", {"0.jpg": encoded(picture())})
    with pytest.raises(DataError, match=r"some\.tar/0\.jpg: has no class; add a \.cls"):
        read_shards([shard], "some")


def test_compressed_damaged_and_empty_shards_are_refused(tmp_path: Path):
    shard = write_shard(tmp_path / "whole.tar", {"0.jpg": encoded(picture(64, 64)), "0.cls": b"a"})
    packed, half = tmp_path / "packed.tar", tmp_path / "half.tar"
    packed.write_bytes(gzip.compress(shard.read_bytes()))
    half.write_bytes(shard.read_bytes()[:1000])
    for path in (packed, half):
        with pytest.raises(DataError, match=rf"{path}: not a whole, uncompressed tar file"):
            read_shards([path], "some")
    with pytest.raises(DataError, match="there are no images in its shards"):
        read_shards([write_shard(tmp_path / "texts.tar", {"0.txt": b"text"})], "some")
    with pytest.raises(DataError, match=r"0\.json: not JSON"):
        read_shards([write_shard(tmp_path / "odd.tar", {"0.jpg": encoded(picture()), "0.json": b"{"})], "some")
