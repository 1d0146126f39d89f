"""The report: one file that holds all it shows and reaches for nothing."""

from __future__ import annotations

import base64
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from neocog.errors import StorageError
from neocog.visualize import ReportFacts, accuracy_verdict, write_report
from neocog.visualize.style import message_figure

VOID = {"meta", "img", "br", "hr", "link", "input"}
EVIL = "<b>\"bold\" & 'bad'</b><script>alert(1)</script>"


class Page(HTMLParser):
    """Reads a page, refusing tags that are not balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture
def facts(tmp_path: Path) -> ReportFacts:
    names = ("curves", "confusion", "calibration", "mistakes")
    figures = {name: message_figure(name, tmp_path / f"{name}.png") for name in names}
    return ReportFacts(
        title="lenet5 on digits",
        verdict=accuracy_verdict(0.9777, 360, "test", (0.957, 0.989)),
        command="neocog train digits --out 'runs/my digits'",
        data="digits",
        splits={"train": {"ants": 1200, EVIL: 3}, "test": {"ants": 400}},
        model="lenet5",
        parameters=61_706,
        recipe={
            "epochs": 30,
            "optimizer": {"lr": 0.05, "betas": (0.9, 0.999)},
            "clip_norm": None,
            "edits": {},
        },
        epochs=30,
        best_epoch=27,
        seconds=252.3,
        run_directory="runs/my digits",
        model_file="runs/my digits/model.safetensors",
        environment={"torch": "2.15.0", "cpu": {"name": EVIL}},
        metrics={"top1": 0.9777, "top5": None, "loss": 0.0712, "calibration_error": float("nan")},
        per_class=[
            {"name": "ants", "images": 400, "precision": 0.9, "recall": 1.0, "f1": 0.95},
            {"name": EVIL, "images": 0, "precision": None, "recall": None, "f1": None},
            {"name": "bees", "images": 7, "precision": 0.5, "recall": 0.5, "f1": 0.5},
        ],
        figures=figures,
        warnings=[f"the file {EVIL}.jpg could not be read"],
        version="0.1.0",
    )


def page(path: Path, facts: ReportFacts, **changes: Any) -> Page:
    written = write_report(path / "report.html", dataclasses.replace(facts, **changes))
    return Page(written.read_text("utf-8"))


def test_the_verdict_reads_as_a_sentence():
    words = accuracy_verdict(0.97777, 3600, "test", (0.957, 0.989)).replace("\N{NO-BREAK SPACE}", " ")
    assert words == "97.8 % of 3,600 test images right (95 % interval 95.7–98.9 %)"


def test_the_report_says_what_was_run_and_found(tmp_path: Path, facts: ReportFacts):
    text = page(tmp_path, facts).text.replace("\N{NO-BREAK SPACE}", " ")
    for words in (
        "97.8 % of 360 test images right (95 % interval 95.7–98.9 %)",
        "neocog train digits --out 'runs/my digits'",
        "61,706",
        "4 min 12 s",
        "optimizer.lr",
        "0.9, 0.999",
        "1,203",
        "the best was epoch 27",
        "neocog predict 'runs/my digits/model.safetensors' ./images",
        "neocog train --resume 'runs/my digits'",
    ):
        assert words in text


def test_every_figure_is_inside_with_words_for_who_cannot_see_it(tmp_path: Path, facts: ReportFacts):
    images = page(tmp_path, facts).all("img")
    assert len(images) == 4
    contents = set()
    for image in images:
        kind, _, content = (image["src"] or "").partition(",")
        assert kind == "data:image/png;base64"
        assert image["alt"]
        contents.add(base64.b64decode(content))
    assert contents == {Path(path).read_bytes() for path in facts.figures.values()}


def test_the_file_stands_alone(tmp_path: Path, facts: ReportFacts):
    text = write_report(tmp_path / "report.html", facts).read_text("utf-8")
    without_figures = re.sub(r"base64,[^\"]*", "", text)
    assert "://" not in without_figures
    assert "@import" not in text
    assert "url(" not in without_figures
    found = Page(text)
    assert not found.all("script")
    assert not found.all("link")
    assert all((link["href"] or "").startswith("#") for link in found.all("a"))
    anchors = {attributes.get("id") for _, attributes in found.tags}
    assert {(link["href"] or "")[1:] for link in found.all("a")} <= anchors


def test_what_came_from_outside_is_only_read(tmp_path: Path, facts: ReportFacts):
    found = page(tmp_path, facts, title=EVIL, verdict=EVIL, command=EVIL, data=EVIL, model=EVIL, split=EVIL)
    assert not found.all("script")
    assert not found.all("b")
    assert found.text.count("alert(1)") >= 9


def test_names_that_are_no_unicode_are_written(tmp_path: Path, facts: ReportFacts):
    assert "caf? in" in page(tmp_path, facts, warnings=["caf\udce9 in bees cannot be read"]).text


def test_the_hardest_class_comes_first_and_the_undefined_before_it(tmp_path: Path, facts: ReportFacts):
    text = (page(tmp_path, facts)).text
    classes = text[text.index("hardest") :]
    assert classes.index("bold") < classes.index("bees") < classes.index("ants")


def test_many_classes_fold_away_but_stay_in_the_file(tmp_path: Path, facts: ReportFacts):
    rows = [{"name": f"class-{n}", "images": 1, "precision": 0.5, "recall": 0.5, "f1": n / 1000} for n in range(1000)]
    found = page(tmp_path, facts, per_class=rows)
    assert len(found.all("details")) == 1
    assert all(f"class-{n} " in found.text for n in range(1000))


def test_a_metric_that_is_not_defined_is_left_out(tmp_path: Path, facts: ReportFacts):
    text = page(tmp_path, facts).text
    assert "top-1 accuracy" in text
    assert "top-5 accuracy" not in text
    assert "calibration error" not in text


def test_a_figure_that_is_gone_is_named_and_the_report_written(tmp_path: Path, facts: ReportFacts):
    found = page(tmp_path, facts, figures={"curves": tmp_path / "lost.png"})
    assert not found.all("img")
    assert "could not be read" in found.text
    assert "lost.png" in found.text


def test_least_facts_make_a_report(tmp_path: Path, facts: ReportFacts):
    needed = {
        field.name: getattr(facts, field.name)
        for field in dataclasses.fields(facts)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    found = Page(write_report(tmp_path / "least.html", ReportFacts(**needed)).read_text("utf-8"))
    assert "Class by class" not in found.text
    assert not found.all("aside")


def test_figures_of_ones_own_get_their_heading(tmp_path: Path, facts: ReportFacts):
    own = {"First-layer filters": message_figure("filters", tmp_path / "filters.png")}
    assert "First-layer filters" in page(tmp_path, facts, figures=own).text


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path, facts: ReportFacts):
    with pytest.raises(StorageError, match="cannot write"):
        write_report(tmp_path, facts)
