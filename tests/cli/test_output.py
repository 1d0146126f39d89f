from __future__ import annotations

import json
import math

import pytest

from neocog.cli._output import Column, counted, duration, percent, print_json, print_table, printable


def test_a_piped_table_is_aligned_and_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    print_table([Column("name"), Column("n", numeric=True)], [[long, "7"], ["short", "12"]])
    assert capsys.readouterr().out.splitlines() == [
        "name" + " " * 296 + "   n",
        long + "   7",
        "short" + " " * 295 + "  12",
    ]


def test_json_has_null_where_a_number_is_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": math.nan, "b": [math.inf, 1.5], "c": ("ü", None, True)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": ["ü", None, True]}


def test_only_the_first_process_speaks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    print_json({})
    print_table([Column("a")], [["b"]])
    assert capsys.readouterr().out == ""


def test_names_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31mb\tc\nd é") == "a\\x1b[31mb\\tc\\nd é"


@pytest.mark.parametrize(
    ("count", "text"), [(25_557_032, "25.6M"), (4_089_184_256, "4.09G"), (61_706, "61.7k"), (300e6, "300M"), (7, "7")]
)
def test_large_numbers_keep_three_digits(count: float, text: str) -> None:
    assert counted(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.24, "0.2 s"), (9.96, "10 s"), (59.7, "1 min 00 s"), (151, "2 min 31 s"), (3900, "1 h 05 min")],
)
def test_times_are_told_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_what_is_not_defined_is_a_dash() -> None:
    assert (percent(None), percent(0.96078)) == ("-", "96.08 %")
