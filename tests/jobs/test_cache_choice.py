"""Whether a run has a cache of decoded photographs, and what it says where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from breaking import Breaker, Broken, save_each_step

from neocog import jobs
from neocog.data.preprocess import Preprocessing
from neocog.data.sources import read_source
from neocog.errors import StorageError
from neocog.jobs._cache import choose_cache, open_photographs
from neocog.recipes import Recipe

LOOK = Preprocessing(size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
TINY = {"epochs": 1, "threads": 1, "workers": 0, "image_size": 32, "batch_size": 8}
IMPOSSIBLE = ("file/caches", "file", "x" * 300, "y/" + "x" * 300, "~nosuchuser/x")


class Heard(jobs.Listener):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


@pytest.fixture
def impossible(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NEOCOG_CACHE", request.param if request.param[0] == "~" else str(tmp_path / request.param))
    return str(request.param)


@pytest.mark.parametrize("impossible", IMPOSSIBLE, indirect=True)
def test_auto_goes_without_a_cache_where_there_can_be_none(photographs: Path, impossible: str) -> None:
    heard = Heard()
    assert choose_cache(Recipe(cache="auto"), read_source(photographs).training, LOOK, heard) is None
    assert len(heard.notices) == 1
    assert "NEOCOG_CACHE" in heard.notices[0]
    assert "--set cache=false" in heard.notices[0]
    assert "\n" not in heard.notices[0]
    assert choose_cache(Recipe(cache="auto"), read_source(photographs).training, LOOK) is None


@pytest.mark.parametrize("impossible", IMPOSSIBLE, indirect=True)
def test_a_cache_that_was_asked_for_and_cannot_be_is_one_clear_error(photographs: Path, impossible: str) -> None:
    split = read_source(photographs).training
    with pytest.raises(StorageError, match=r"NEOCOG_CACHE.*--set cache=false") as caught:
        choose_cache(Recipe(cache=True), split, LOOK)
    assert "\n" not in str(caught.value)
    with pytest.raises(StorageError, match=r"NEOCOG_CACHE.*--set cache=false"):
        open_photographs(split, 37, channels=3, workers=0, listener=jobs.Listener())
    assert choose_cache(Recipe(cache=False), split, LOOK) is None


def test_a_cache_that_can_be_is_chosen_without_a_word(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEOCOG_CACHE", str(tmp_path / "here" / "caches"))
    heard = Heard()
    split = read_source(photographs).training
    assert choose_cache(Recipe(cache="auto"), split, LOOK, heard) == 37
    assert choose_cache(Recipe(cache=True), split, LOOK, heard) == 37
    assert not heard.notices
    assert open_photographs(split, 37, channels=3, workers=0, listener=heard) is not None
    assert len(heard.notices) == 1


def test_a_run_trains_where_no_cache_can_be(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_each_step(monkeypatch)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NEOCOG_CACHE", str(tmp_path / "file" / "caches"))
    jobs.train(photographs, model="resnet20", overrides=TINY, out=tmp_path / "run")
    with pytest.raises(StorageError, match="NEOCOG_CACHE"):
        jobs.train(photographs, model="resnet20", overrides={**TINY, "cache": True}, out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_run_that_goes_on_needs_the_cache_that_it_began_with(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_each_step(monkeypatch)
    monkeypatch.setenv("NEOCOG_CACHE", str(tmp_path / "caches"))
    with pytest.raises(Broken):
        jobs.train(photographs, model="resnet20", overrides=TINY, out=tmp_path / "run", listener=Breaker(2))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NEOCOG_CACHE", str(tmp_path / "file" / "caches"))
    with pytest.raises(StorageError, match=r"name another folder in NEOCOG_CACHE"):
        jobs.resume(tmp_path / "run")
    monkeypatch.setenv("NEOCOG_CACHE", str(tmp_path / "others"))
    jobs.resume(tmp_path / "run")
    assert (tmp_path / "others").exists()
