"""Files are whole or untouched, and what the system refuses is one clear line."""

from __future__ import annotations

import os
import resource
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from neocog._files import append_text, atomic_file, is_temporary, remove_temporaries, write_json, write_text
from neocog.errors import StorageError


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse files larger than `size` bytes, also to the administrator."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_content_takes_the_name_at_the_end_of_the_block(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with atomic_file(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_file(target) as file:  # noqa: PT012
        file.write(b"half")
        raise KeyboardInterrupt
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_write_that_the_system_cuts_short_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with largest_file(1000), pytest.raises(StorageError) as caught, atomic_file(target) as file:
        file.write(bytes(100_000))
    assert str(target) in str(caught.value)
    assert "file too large" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_full_disk_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=r"cannot write .*a\.txt: no space left on device; free some space"):
        write_text(tmp_path / "a.txt", "hello")
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="folder does not exist; create it first"):
        write_text(tmp_path / "none" / "a.txt", "hello")


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write everywhere")
def test_a_read_only_folder_is_named_with_what_to_do(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="permission denied; choose a place"):
        write_text(tmp_path / "a.txt", "hello")


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageError, match="is a directory"):
        write_text(tmp_path / "a", "hello")


def test_the_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    write_text(target, "hello")
    assert target.read_text() == "hello"
    with pytest.raises(StorageError, match="name too long"):
        write_text(tmp_path / ("n" * 256), "hello")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_pipe_is_written_directly(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "hello")
    reader.join(10)
    assert read == ["hello"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_files_get_the_usual_permissions(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.write_text("")
    write_text(tmp_path / "a", "")
    assert (tmp_path / "a").stat().st_mode == usual.stat().st_mode


def test_json_keeps_names_that_are_not_unicode(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    write_json(tmp_path / "a.json", {"path": name, "class": "été"})
    assert b'"caf\xe9.jpg"' in (tmp_path / "a.json").read_bytes()
    assert '"été"'.encode() in (tmp_path / "a.json").read_bytes()


def test_an_append_that_fails_leaves_the_file_as_long_as_before(tmp_path: Path) -> None:
    target = tmp_path / "log.txt"
    append_text(target, "first\n")
    with largest_file(100), pytest.raises(StorageError, match="cannot write"):
        append_text(target, "x" * 200 + "\n")
    assert target.read_text() == "first\n"
    append_text(target, "second\n")
    assert target.read_text() == "first\nsecond\n"


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".neocog-0123456789abcdef.tmp").write_text("half")
    (tmp_path / "mine.tmp").write_text("whole")
    remove_temporaries(tmp_path)
    assert os.listdir(tmp_path) == ["mine.tmp"]
    assert not is_temporary(tmp_path / "mine.tmp")
