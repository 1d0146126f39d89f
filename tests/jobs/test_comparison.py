"""Which accuracy meets which cost, and what stands on the front."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from neocog.analysis import throughput
from neocog.catalog import describe, list_models
from neocog.data.preprocess import Preprocessing
from neocog.errors import UnknownNameError, UsageError
from neocog.inference.model_file import Card, save_model
from neocog.jobs._accuracy import best_accuracy, papers_accuracies
from neocog.jobs.comparison import Comparison, Row, compare, pareto_front
from neocog.models import create_model

OWN = """
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 6, 2))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A network that a person wrote."""
    (tmp_path / "own_nets.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_nets:small"


@pytest.fixture
def trained(tmp_path: Path) -> Callable[[str, float], str]:
    """Writes the model file of a network that was trained on insects; gives its path."""

    def write(name: str, top1: float) -> str:
        card = Card(
            model=name,
            num_classes=2,
            classes=("ant", "bee"),
            preprocessing=Preprocessing(size=(64, 64), mean=(0.5,) * 3, std=(0.2,) * 3),
            metrics={"test_top1": top1, "validation_top1": 0.1},
            data="insects",
        )
        save_model(tmp_path / f"{name}.safetensors", create_model(name, num_classes=2), card)
        return str(tmp_path / f"{name}.safetensors")

    return write


def row(found: Comparison, label: str) -> Row:
    (only,) = (each for each in found.rows if each.label == label)
    return only


def on_front(costs: list[float], values: list[float]) -> set[int]:
    """The definition: what no other dominates."""
    points = list(zip(costs, values, strict=True))
    return {
        place
        for place, (cost, value) in enumerate(points)
        if not any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)
    }


def test_the_front_of_known_points() -> None:
    #        cheap  best  beaten at equal cost  equal value but dearer  the best   worse than all
    costs = [1.0, 2.0, 2.0, 3.0, 4.0, 5.0]
    values = [70.0, 75.0, 74.0, 75.0, 80.0, 60.0]
    assert pareto_front(costs, values) == [0, 1, 4]


def test_equal_points_stand_on_the_front_together_or_not_at_all() -> None:
    assert sorted(pareto_front([1, 1, 2, 2], [70, 70, 60, 60])) == [0, 1]


@pytest.mark.parametrize("seed", range(30))
def test_the_front_is_what_its_definition_says(seed: int) -> None:
    generator = random.Random(seed)
    steps = generator.choice([3, 10, 1000])  # few steps make many ties
    costs = [float(generator.randrange(steps)) for _ in range(40)]
    values = [float(generator.randrange(steps)) for _ in range(40)]
    found = pareto_front(costs, values)
    assert set(found) == on_front(costs, values)
    assert len(set(found)) == len(found)
    assert [costs[place] for place in found] == sorted(costs[place] for place in found)


def test_multiply_adds_are_those_of_the_size_that_the_accuracy_is_of() -> None:
    found = compare("resnet34")
    best = max(describe("resnet34").weights, key=lambda weights: weights.top1 or 0)
    (only,) = found.rows
    assert (best.test_size, only.image) == (288, (3, 288, 288))
    assert (only.accuracy, only.source) == (best.top1, f"weights {best.tag}")
    assert only.origin == f"weights {best.tag}, at 288x288"
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        create_model("resnet34").eval()(torch.empty(1, 3, 288, 288))
    assert only.macs == counter.get_total_flops() // 2
    assert only.parameters == describe("resnet34").parameters


def test_the_size_of_a_papers_images_counts() -> None:
    (only,) = compare("resnetv2_152").rows
    assert "320x320" in only.source
    assert only.image == (3, 320, 320)


def test_an_accuracy_of_one_crop_goes_before_a_better_one_of_ten() -> None:
    values = {each.value: each.passes for each in papers_accuracies(describe("resnet50_v1"), "top1")}
    assert values == {77.15: "10 crops", 75.3: ""}
    (only,) = compare("resnet50_v1").rows
    assert (only.accuracy, only.passes, only.on_front) == (75.3, "", True)


def test_an_accuracy_of_ten_crops_alone_is_drawn_but_not_on_the_front() -> None:
    found = compare("plain18")
    assert (found.rows[0].passes, found.rows[0].not_drawn, found.front) == ("10 crops", "", ())


def test_of_no_accuracy_there_is_no_best() -> None:
    assert best_accuracy([]) is None


def test_networks_without_a_published_accuracy_are_listed_and_not_drawn() -> None:
    found = compare(["resnet20", "mobilenetv2_035"])
    assert [each.name for each in found.rows] == ["mobilenetv2_035", "resnet20"]
    assert "8.75 % error" in row(found, "resnet20").not_drawn
    assert [each.name for each in found.not_drawn] == ["resnet20"]
    assert (row(found, "resnet20").macs, row(found, "resnet20").accuracy) == (describe("resnet20").macs, None)


def test_the_front_is_the_cheapest_first() -> None:
    found = compare(["mobilenetv2_*", "resnet18"], sort="accuracy")
    assert found.rows[0].name == "mobilenetv2_140"
    names = ["mobilenetv2_035", "mobilenetv2_050", "mobilenetv2_075", "mobilenetv2_100", "mobilenetv2_130"]
    assert [each.name for each in found.front] == [*names, "mobilenetv2_140"]
    assert not row(found, "resnet18").on_front


def test_each_of_a_networks_weights_has_a_row_where_all_are_asked_for() -> None:
    found = compare("resnet18", all_weights=True)
    weights = describe("resnet18").weights
    assert {each.label for each in found.rows} == {
        "resnet18 (published)",
        *(f"resnet18.{each.tag}" for each in weights),
    }
    for each in weights:
        side = each.test_size or each.size
        assert row(found, f"resnet18.{each.tag}").image == (3, side, side)


def test_tags_choose_weights() -> None:
    found = compare(["resnet18", "resnet3?"], tags=["a2_*"])  # resnet32 has no weights
    sources = {each.name: each.source for each in found.rows}
    assert sources == {"resnet18": "weights a2_in1k", "resnet34": "weights a2_in1k"}
    with pytest.raises(UsageError, match="no such trained weights of resnet26"):
        compare(["resnet18", "resnet26"], tags=["a2_*"])


def test_an_unknown_tag_names_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="a1_in1k"):
        compare("resnet18", tags=["a1_in1"])


def test_only_trained_weights_count_where_they_are_asked_for() -> None:
    assert compare(["mobilenetv2_100"], weights=True).rows[0].accuracy is None
    with pytest.raises(UsageError, match=r"weights of plain\* are known"):
        compare(["resnet18", "plain*"], weights=True)


def test_at_a_given_size_only_its_accuracies_are_drawn() -> None:
    found = compare(["resnet50", "resnet26"], size=224)
    assert row(found, "resnet50").accuracy == max(
        each.top1 or 0 for each in describe("resnet50").weights if (each.test_size or each.size) == 224
    )
    assert "288x288" in row(found, "resnet26").not_drawn
    assert row(found, "resnet26").macs == describe("resnet26").macs


def test_over_the_years_stands_what_the_papers_print() -> None:
    found = compare(["resnet50_v1", "resnet26", "mobilenetv2_100"], x="year")
    assert row(found, "resnet26").not_drawn.startswith("no paper prints")
    assert [each.name for each in found.front] == ["resnet50_v1"]  # earlier, and better


@pytest.mark.parametrize(
    ("patterns", "named"), [(["resnet18", "mobilenett*"], "mobilenetv2"), (["resnet188"], "resnet18")]
)
def test_every_pattern_must_match_something(patterns: list[str], named: str) -> None:
    with pytest.raises(UnknownNameError, match=named):
        compare(patterns)


@pytest.mark.parametrize(
    "given", [{"x": "flops"}, {"y": "top2"}, {"sort": "size"}, {"sort": "throughput"}, {"out": "chart.doc"}]
)
def test_what_cannot_be_meant_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        compare("lenet*", **given)  # type: ignore[arg-type]


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        compare([])


def test_a_network_of_the_users_own_is_counted_and_not_drawn(own: str) -> None:
    found = compare(["mobilenetv2_035", own], size=8)
    assert row(found, own).macs == 6 * 6 * 4 * 27 + 4 * 6 * 6 * 2
    assert row(found, own).not_drawn == "no known accuracy"


def test_a_model_file_is_not_drawn_against_imagenet(trained: Callable[[str, float], str]) -> None:
    path = trained("mobilenetv2_035", 0.975)
    found = compare(["mobilenetv2_035", path])
    measured = row(found, f"mobilenetv2_035 ({path})")
    assert (measured.accuracy, measured.source) == (97.5, "measured on the test images of insects")
    assert "other images than" in measured.not_drawn
    assert (measured.image, measured.parameters) == ((3, 64, 64), 1677128 - 998 * 1281)


def test_model_files_of_the_same_images_are_drawn_against_each_other(trained: Callable[[str, float], str]) -> None:
    found = compare([trained("mobilenetv2_035", 0.9), trained("mobilenetv2_050", 0.8)])
    assert found.basis == "the test images of insects"
    assert [each.name for each in found.front] == ["mobilenetv2_035"]
    assert not found.not_drawn


def test_throughput_is_measured_and_more_of_it_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    # Here the dearest network is the fastest, which no cost but a measured one would tell.
    rates = {"mobilenetv2_035": 10.0, "mobilenetv2_050": 30.0, "resnet18": 20.0}

    def prepare(network: object, image: object, setting: object, *, name: str) -> str:
        return name

    def measure_in_turn(prepared: list[str], *, seconds: float) -> list[SimpleNamespace]:
        return [SimpleNamespace(images_per_second=rates[name], interval=(0.1, 0.2)) for name in prepared]

    monkeypatch.setattr(throughput, "prepare", prepare)
    monkeypatch.setattr(throughput, "measure_in_turn", measure_in_turn)
    setting = throughput.Setting(batch=4, layout="NHWC")
    found = compare([*rates, "resnet20"], x="throughput", setting=setting)
    assert [each.name for each in found.rows] == ["mobilenetv2_050", "resnet18", "mobilenetv2_035", "resnet20"]
    assert [each.name for each in found.front] == ["mobilenetv2_050", "resnet18"]
    assert row(found, "resnet18").images_per_second_interval == (20.0, 40.0)
    assert row(found, "resnet20").images_per_second is None
    assert "batches of 4" in found.conditions
    assert "NHWC" in found.conditions


def test_throughput_of_a_users_own_network_is_measured(own: str) -> None:
    found = compare(own, x="throughput", size=8, setting=throughput.Setting(batch=2), seconds=0)
    low, high = found.rows[0].images_per_second_interval or (0, 0)
    assert 0 < low <= (found.rows[0].images_per_second or 0) <= high


def test_a_page_comes_with_its_picture_and_a_picture_alone(tmp_path: Path) -> None:
    names = ["mobilenetv2_035", "mobilenetv2_050"]
    page, picture = compare(names, out=tmp_path / "new" / "chart.html").files
    assert (page.name, picture.name) == ("chart.html", "chart.png")
    assert page.is_file()
    assert picture.is_file()
    (alone,) = compare(names, out=tmp_path / "alone.svg").files
    assert alone.read_text().lstrip().startswith("<?xml")
    assert not (tmp_path / "alone.html").exists()


def test_a_comparison_of_nothing_drawable_still_has_its_table(tmp_path: Path) -> None:
    page, _ = compare("lenet*", out=tmp_path / "chart.html").files
    assert "None of these networks" in page.read_text()
    assert all(name in page.read_text() for name in list_models("lenet*"))


def test_everything_is_told_in_plain_types(own: str) -> None:
    told = json.loads(json.dumps(compare(["mobilenetv2_035", own], size=8).to_dict()))
    assert told["front"] == []
    assert {each["label"] for each in told["rows"]} == {"mobilenetv2_035", own}
