"""The table of ILSVRC's results, and its picture."""

from __future__ import annotations

from pathlib import Path

from figure_pixels import near, pixels

from neocog.visualize import ilsvrc_results, style
from neocog.visualize.ilsvrc import RESULTS


def test_the_figures_are_those_of_googlenets_table():
    # Szegedy et al. 2014, table 2: team, year, place, top-5 error, external data.
    table = {
        ("SuperVision", 2012, 1, 16.4, False),
        ("SuperVision", 2012, 1, 15.3, True),
        ("Clarifai", 2013, 1, 11.7, False),
        ("Clarifai", 2013, 1, 11.2, True),
        ("MSRA", 2014, 3, 7.35, False),
        ("VGG", 2014, 2, 7.32, False),
        ("GoogLeNet", 2014, 1, 6.67, False),
    }
    assert table <= {(each.team, each.year, each.place, each.error, each.external) for each in RESULTS}


def test_each_year_has_one_winner_and_it_made_the_fewest_errors():
    for year in range(2010, 2018):
        entries = [each for each in RESULTS if each.year == year]
        assert len({each.team for each in entries if each.place == 1}) == 1
        assert min(entries, key=lambda each: each.error).place == 1
    assert [each.year for each in RESULTS] == sorted(each.year for each in RESULTS)
    assert all(each.source for each in RESULTS)


def test_zfnet_is_not_given_clarifais_figure():
    (zfnet,) = (each for each in RESULTS if each.network == "ZFNet")
    assert (zfnet.place, zfnet.error) == (3, 13.5)


def test_bars_are_drawn(tmp_path: Path):
    figure = ilsvrc_results(tmp_path / "ilsvrc.png")
    height, width, _ = pixels(figure).shape
    assert width > height > 700
    assert near(figure, style.BLUE) > 30_000
    assert near(figure, style.SKY) > 20_000
    assert near(figure, style.MUTED) > 30_000
