"""Finding image files and telling sound ones from others."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from pictures import encoded, picture, save_folder

from neocog.data.files import Skipped, file_problem, list_images, sound_images, walk
from neocog.data.preprocess import open_image
from neocog.errors import DataError

KINDS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"]


def names(paths: list[Path] | list[str], root: Path) -> list[str]:
    return [Path(path).relative_to(root).as_posix() for path in paths]


@pytest.mark.parametrize("kind", KINDS)
def test_every_readable_format_is_sound_whatever_it_is_called(tmp_path: Path, kind):
    path = tmp_path / "picture.txt"
    path.write_bytes(encoded(picture(), kind))
    assert file_problem(str(path)) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_files_are_found_without_decoding_sound_ones(tmp_path: Path, kind, share):
    data, path = encoded(picture(64, 48), kind), tmp_path / "half"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError):
        open_image(path)
    assert file_problem(str(path)) == "they are damaged"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_bytes_that_a_camera_appends_do_no_harm(tmp_path: Path, kind):
    path = tmp_path / "long.jpg"
    path.write_bytes(encoded(picture(), kind) + bytes(1000))
    assert file_problem(str(path)) is None


def test_empty_foreign_and_unreadable_files_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "letter.jpg").write_text("Dear reader, this is no image at all, but a letter of some length.")
    assert file_problem(str(tmp_path / "empty.jpg")) == "they are empty"
    assert file_problem(str(tmp_path / "letter.jpg")) == "they are no images"
    assert file_problem(str(tmp_path / "absent.jpg")) == "they cannot be read (no such file or directory)"


def test_skipped_files_are_counted_and_the_first_is_named(tmp_path: Path):
    save_folder(tmp_path, {"cats": 2})
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "cats" / name).touch()
    (tmp_path / "cats" / "notes.txt").write_text("notes")
    skipped = Skipped()
    assert names(sound_images(tmp_path, skipped), tmp_path) == ["cats/000.jpg", "cats/001.jpg"]
    assert skipped.warnings("pets") == [
        f"pets: 2 files left out because they are empty, the first {tmp_path}/cats/a.jpg",
        f"pets: 1 file left out because they are no images, namely {tmp_path}/cats/notes.txt",
    ]


def test_hidden_files_and_what_systems_leave_behind_are_passed_over(tmp_path: Path):
    save_folder(tmp_path, {"cats": 1, ".thumbnails": 1, "__MACOSX": 1})
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._000.jpg"):
        (tmp_path / "cats" / name).touch()
    assert names(list(walk(tmp_path)), tmp_path) == ["cats/000.jpg"]


def test_links_are_followed_but_cycles_are_not(tmp_path: Path):
    save_folder(tmp_path / "real", {"cats": 2})
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "real" / "cats", target_is_directory=True)
    (root / "again").symlink_to(root, target_is_directory=True)
    (root / "lost.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert names(list(walk(root)), root) == ["linked/000.jpg", "linked/001.jpg", "lost.jpg"]


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=rf"{tmp_path}: the folder cannot be read \(permission denied\)"):
        list(walk(tmp_path))


def test_files_to_predict_come_from_files_folders_and_patterns_each_once(tmp_path: Path):
    root = save_folder(tmp_path / "größe & co", {"deep/er": 2, ".": 2})
    (root / "notes.txt").write_text("no image")
    (root / "broken.jpg").touch()
    (root / "unnamed").write_bytes(encoded(picture(), "PNG"))
    in_folder = ["000.jpg", "001.jpg", "broken.jpg", "deep/er/000.jpg", "deep/er/001.jpg", "unnamed"]
    assert names(list_images([root]), root) == in_folder
    assert names(list_images([root / "001.jpg", root, f"{root}/0*.jpg"]), root) == [
        "001.jpg",
        *(name for name in in_folder if name != "001.jpg"),
    ]
    assert names(list_images([f"{root}/**/0*.jpg"]), root) == [
        "000.jpg",
        "001.jpg",
        "deep/er/000.jpg",
        "deep/er/001.jpg",
    ]


def test_files_to_predict_may_be_named_on_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = save_folder(tmp_path, {"a b": 2})
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{root}/a b/001.jpg\r\n\n{root}/a b/000.jpg\n"))
    assert names(list_images(["-"]), root) == ["a b/001.jpg", "a b/000.jpg"]


def test_a_file_named_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path):
    path = tmp_path / "photo[1].jpg"
    path.write_bytes(encoded(picture()))
    assert list_images([path]) == [path]


def test_missing_files_are_kept_to_be_reported_unless_nothing_is_there(tmp_path: Path):
    root = save_folder(tmp_path, {"cats": 1})
    assert names(list_images([root / "absent.jpg", root / "cats"]), root) == ["absent.jpg", "cats/000.jpg"]
    with pytest.raises(DataError, match=r"absent\.jpg: there is no such file or folder, nor any of 1 more"):
        list_images([root / "absent.jpg", root / "none*.png"])
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no images there"):
        list_images([root / "empty"])
