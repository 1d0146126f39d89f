"""The house style: words, names and files of every figure."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from neocog.errors import StorageError
from neocog.visualize import style


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.978, "97.8 %"), (1.0, "100.0 %"), (0.9999, "99.99 %"), (0.0, "0.0 %"), (0.125, "12.5 %")],
)
def test_percent_never_rounds_up_to_perfection(share: float, words: str):
    assert style.percent(share).replace("\N{NO-BREAK SPACE}", " ") == words


def test_short_names_stay_and_long_ones_keep_both_ends():
    assert style.shorten("bees", 4) == "bees"
    assert style.shorten("n02124075 Egyptian cat", 11) == "n0212…n cat"
    for width in range(3, 30):
        assert len(style.shorten("a class name of some length, indeed", width)) <= width


def test_wide_characters_count_twice():
    assert style.shorten("猫猫猫猫猫猫", 7) == "猫猫…猫"


def test_names_that_look_alike_are_numbered():
    same = "the very same beginning {} and the very same end"
    labels = style.name_labels([same.format(1), "bees", same.format(2)], 16)
    assert labels[1] == "bees"
    assert labels[0].startswith("0: ")
    assert labels[2].startswith("2: ")


def test_what_no_font_has_is_a_box_and_control_characters_go():
    assert style.plain("a\nb\x07") == "a b"
    assert style.plain("\U0010fffe") == "□"
    assert style.plain("é → ü") == "é → ü"


def test_any_name_can_be_drawn(tmp_path: Path):
    names = ["$x_{$", "$\\frac$", "100 $", "a_b^c", "\udcff\udcfe", "\u202eabc", "", "\\$ \\", "\U0001f41c 猫"]
    figure = style.new_figure(6, 1)
    for number, name in enumerate(names):
        figure.text(0.1 * number, 0.5, style.plain(name))
    assert style.save(figure, tmp_path / "names.png").stat().st_size > 1000


def test_figures_are_drawn_from_several_threads(tmp_path: Path):
    def draw(number: int) -> None:
        style.message_figure(f"figure {number}", tmp_path / f"{number}.png")

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sizes = {Image.open(tmp_path / f"{number}.png").height for number in range(4)}
    assert len(sizes) == 1


def test_importing_the_room_loads_no_matplotlib_and_drawing_no_pyplot(tmp_path: Path):
    program = (
        "import sys, neocog.visualize as v; assert 'matplotlib' not in sys.modules;"
        f"v.style.message_figure('hello', {str(tmp_path / 'hello.png')!r});"
        "assert 'matplotlib' in sys.modules; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_folders_are_made_and_the_suffix_names_the_format(tmp_path: Path):
    written = style.message_figure("hello", tmp_path / "new" / "folder" / "message.svg")
    assert written.read_text().lstrip().startswith("<?xml")


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path):
    first = style.message_figure("hello", tmp_path / "1.png").read_bytes()
    assert first == style.message_figure("hello", tmp_path / "2.png").read_bytes()
    assert b"http" not in first


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot write"):
        style.message_figure("hello", tmp_path / "file" / "figure.png")
