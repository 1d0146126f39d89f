"""The classification results of ILSVRC, 2010 to 2017: how large-scale recognition was learnt.

    from neocog.visualize import ilsvrc_results
    ilsvrc_results("ilsvrc.png")

Figures are the top-5 errors of the organisers' test images. Two that are often told otherwise: the classification
task of 2014 was won by GoogLeNet, and VGG came second; and the 11.7 % of 2013 is the company Clarifai's, while the team
of Zeiler and Fergus, whose paper is called ZFNet, came third.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from neocog.visualize import style

HUMAN = 5.1
"""Top-5 error in per cent of one person who had practised, on 1,500 images (Russakovsky et al. 2015, section 6.4)."""

_GOOGLENET = "Szegedy et al. 2014, table 2"
_PAGE = "image-net.org/challenges/LSVRC"


@dataclass(frozen=True)
class Entry:
    """One team's entry.

    Attributes:
        year: of the challenge.
        team: as it called itself.
        network: the name that its network has today; empty for other methods and where it has none.
        place: rank of the team among those of its year.
        error: top-5 error in per cent.
        external: whether it learnt from other images too, all of ImageNet's 22,000 classes.
        source: where the figure stands.
        note: what else to know of it.
    """

    year: int
    team: str
    network: str
    place: int
    error: float
    external: bool
    source: str
    note: str = ""


RESULTS = (
    Entry(
        2010, "NEC-UIUC", "", 1, 28.2, False, "Russakovsky et al. 2015, section 5.1", "local descriptors, linear SVM"
    ),
    Entry(2011, "XRCE", "", 1, 25.8, False, f"{_PAGE}/2011/results", "Fisher vectors, linear SVM"),
    Entry(2012, "ISI", "", 2, 26.2, False, "Krizhevsky et al. 2012, table 2", "Fisher vectors of several features"),
    Entry(2012, "SuperVision", "AlexNet", 1, 16.4, False, _GOOGLENET),
    Entry(2012, "SuperVision", "AlexNet", 1, 15.3, True, _GOOGLENET),
    Entry(2013, "ZF", "ZFNet", 3, 13.5, False, f"{_PAGE}/2013/results.php"),
    Entry(2013, "Clarifai", "", 1, 11.7, False, _GOOGLENET),
    Entry(2013, "Clarifai", "", 1, 11.2, True, _GOOGLENET),
    Entry(2014, "MSRA", "SPP-net", 3, 7.35, False, _GOOGLENET, "8.06 on the organisers' page"),
    Entry(2014, "VGG", "VGG", 2, 7.32, False, _GOOGLENET),
    Entry(2014, "GoogLeNet", "GoogLeNet", 1, 6.67, False, _GOOGLENET),
    Entry(2015, "MSRA", "ResNet", 1, 3.57, False, "He et al. 2015, table 5"),
    Entry(2016, "Trimps-Soushen", "", 1, 2.99, False, f"{_PAGE}/2016/results", "several kinds of Inception and ResNet"),
    Entry(2017, "WMW", "SENet", 1, 2.25, False, "Hu et al. 2017, abstract"),
)
"""The entries that are drawn, in the order of the years, the largest error of a year first."""


def ilsvrc_results(path: str | Path) -> Path:
    """Draw the top-5 errors of `RESULTS` as bars from the first year to the last, with a person's for comparison.

    Args:
        path: file to write; its suffix names the format.

    Returns:
        The path written.

    Raises:
        StorageError: the place cannot be written.
    """
    from matplotlib.patches import Patch

    figure = style.new_figure(8.6, 5.6)
    axes = figure.subplots()
    rows = _rows()
    legible = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
    for row, entry in zip(rows, RESULTS, strict=True):
        axes.barh(
            row,
            entry.error,
            height=0.78,
            color="white" if entry.external else _colour(entry),
            edgecolor=_colour(entry),
            hatch="/////" if entry.external else None,
            linewidth=1.2,
        )
        said = f"{entry.error:g} %"
        axes.text(entry.error + 0.3, row, said, va="center", fontsize=style.TICK, color=style.INK, bbox=legible)
    axes.axvline(HUMAN, color=style.INK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=0)
    axes.text(HUMAN + 0.3, rows[-1], f"a person: {HUMAN} %", va="center", fontsize=style.TICK, color=style.INK)
    style.dress(axes, x="top-5 error on the test images, in %")
    axes.grid(visible=False, axis="y")
    axes.set_yticks(rows, [_label(entry) for entry in RESULTS])
    axes.tick_params(axis="y", length=0, labelcolor=style.INK)
    axes.set_ylim(rows[-1] + 0.8, rows[0] - 0.8)
    axes.set_xlim(0, 31)
    axes.legend(
        handles=[
            Patch(color=style.MUTED, label="no convolutional network"),
            Patch(color=style.BLUE, label="convolutional networks: the winner of the year"),
            Patch(color=style.SKY, label="convolutional networks: another place"),
            Patch(facecolor="white", edgecolor=style.BLUE, hatch="/////", label="learnt from further images"),
        ],
        fontsize=style.TICK,
        loc="lower right",
        framealpha=1,
        edgecolor="none",
    )
    first, last = RESULTS[0], RESULTS[-1]
    style.headline(
        figure,
        f"ILSVRC: from {first.error:g} % top-5 error in {first.year} to {last.error:g} % in {last.year}, "
        "by convolutional networks since 2012",
    )
    return style.save(figure, path)


def _rows() -> list[float]:
    """Return the height of each entry, with a gap between the years."""
    rows = [0.0]
    for before, entry in pairwise(RESULTS):
        rows.append(rows[-1] + (1.0 if entry.year == before.year else 1.45))
    return rows


def _colour(entry: Entry) -> str:
    if entry.year < 2012 or entry.team == "ISI":
        return style.MUTED
    return style.BLUE if entry.place == 1 else style.SKY


def _label(entry: Entry) -> str:
    called = entry.team if entry.network in ("", entry.team) else f"{entry.team} ({entry.network})"
    place = {1: "", 2: ", 2nd", 3: ", 3rd"}[entry.place]
    return f"{called}{place}   {entry.year}"
