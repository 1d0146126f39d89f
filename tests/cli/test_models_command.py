from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from neocog.catalog import describe, list_models

Command = Callable[..., SimpleNamespace]


def test_all_networks_are_listed(command: Command) -> None:
    heading, *lines = command("models").out.splitlines()
    assert heading.split()[:3] == ["name", "year", "parameters"]
    assert [line.split()[0] for line in lines] == list_models()


def test_patterns_and_sorting_reach_the_catalog(command: Command) -> None:
    _, *lines = command("models", "mobilenetv2_1*", "lenet*", "--sort", "macs").out.splitlines()
    assert [line.split()[0] for line in lines] == list_models(["mobilenetv2_1*", "lenet*"], sort="macs")


def test_a_line_tells_size_accuracy_and_source(command: Command) -> None:
    line = command("models", "mobilenetv2_100").out.splitlines()[1]
    assert line.split()[:6] == ["mobilenetv2_100", "2018", "3.50M", "301M", "3x224x224", "72"]
    assert "table 4" in line.lower()


def test_weights_are_named_on_request(command: Command) -> None:
    shown = command("models", "--weights").out
    names = [line.split()[0] for line in shown.splitlines()[1:]]
    assert names == list_models(weights=True)
    assert all(weights.tag in shown for name in names for weights in describe(name).weights)


def test_json_holds_what_the_catalog_knows(command: Command) -> None:
    (found,) = json.loads(command("models", "mobilenetv2_100", "--json").out)
    entry = describe("mobilenetv2_100")
    assert found["parameters"] == entry.parameters
    assert found["top1"] == entry.top1
    assert [each["tag"] for each in found["weights"]] == [each.tag for each in entry.weights]


def test_one_unknown_name_among_known_ones_is_an_error(command: Command) -> None:
    done = command("models", "mobilenetv2*", "lenett5")
    assert (done.code, done.out) == (2, "")
    assert "lenet5" in done.err


def test_families_have_a_line_each_the_oldest_first(command: Command) -> None:
    _, *lines, blank, last = command("models", "--families").out.splitlines()
    entries = [describe(name) for name in list_models()]
    families = {entry.family for entry in entries}
    assert {line.split()[0] for line in lines} == families
    years = [int(line.split()[1].partition("-")[0]) for line in lines]
    assert years == sorted(years)
    counts = [int(line.split()[2]) for line in lines]
    assert sum(counts) == len(entries)
    assert (blank, last.split()[0]) == ("", str(len(entries)))


def test_families_are_in_no_other_order(command: Command) -> None:
    done = command("models", "--families", "--sort", "macs")
    assert (done.code, done.out) == (2, "")
    assert "--sort macs" in done.err


def test_a_familys_line_spans_its_networks(command: Command) -> None:
    line = command("models", "mobilenetv2", "--families").out.splitlines()[1]
    assert line.split()[:5] == ["mobilenetv2", "2018", "8", "1.68M-6.11M", "59.3M-669M"]
    (found,) = json.loads(command("models", "mobilenetv2*", "--families", "--json").out)
    assert found == {"family": "mobilenetv2", "networks": list_models("mobilenetv2_*")}


def test_the_name_of_a_family_lists_it_and_its_neighbours_are_named(command: Command) -> None:
    _, *lines = command("models", "preact_resnet").out.splitlines()
    assert [line.split()[0] for line in lines] == list_models("resnetv2_*")
    assert "preact_resnet" in command("models", "preact_resnets").err


@pytest.mark.parametrize("family", ["alexnet", "dsn", "googlenet", "zfnet"])
def test_a_family_that_bears_the_name_of_one_of_its_networks_is_listed_whole(command: Command, family: str) -> None:
    _, *lines = command("models", family).out.splitlines()
    expected = [name for name in list_models() if describe(name).family == family]
    assert len(expected) > 1
    assert family in expected
    assert [line.split()[0] for line in lines] == expected
