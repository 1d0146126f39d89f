"""Every figure of the catalog is the network's: counted ones to the digit, published ones to their own rounding."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from neocog.catalog import describe, list_models

NAMES = list_models()
ELSEWHERE = re.compile(r"\d+\s?[x×]\s?\d+|\b(?:ten|\d+|multiple)[ -]?crop|\bdense\b|ensemble|multi-?scale")
SMALLEST_OF_FAMILY = list({describe(name).family: name for name in reversed(list_models(sort="macs"))}.values())


@pytest.mark.parametrize("name", NAMES)
def test_counted_figures_equal_the_network(name: str):
    from neocog.analysis.blank import without_numbers
    from neocog.analysis.cost import count_cost
    from neocog.analysis.trace import trace_forward

    entry = describe(name)
    module = import_module(entry.module)
    config = module.CONFIGS[name]
    assert (config.num_classes, config.in_chans) == (entry.num_classes, entry.input[0])
    with without_numbers():
        network = module.NETWORK(config)
    counted = count_cost(trace_forward(network, entry.input))
    assert [value.shape for value in counted.trace.outputs] == [(1, entry.num_classes)]
    assert (counted.parameters, counted.macs) == (entry.parameters, entry.macs)
    assert counted.idle_parameters == 0
    assert counted.uncounted == {}
    assert counted.trace.device == "meta"


@pytest.mark.parametrize("name", NAMES)
def test_published_figures_agree_to_their_own_rounding_or_say_why_not(name: str):
    entry = describe(name)
    counted = {"parameters": entry.parameters, "macs": entry.macs}
    for figure in entry.published:
        assert figure.source
        if figure.quantity in counted and not figure.note:
            assert abs(counted[figure.quantity] - figure.value) <= half_of_last_digit(figure.value), figure


@pytest.mark.parametrize("name", NAMES)
def test_how_often_and_at_which_size_stand_in_their_own_fields(name: str):
    for figure in describe(name).published:
        words = re.search(
            r"\d+\s?[x×]\s?\d+|\b(?:ten|\d+|multiple)[ -]?crop|\bdense\b|ensemble|multi-?scale", figure.source
        )
        assert not words, figure
        assert figure.size is None or figure.quantity in ("top1", "top5")


def half_of_last_digit(value: float) -> float:
    """Return half a unit of the last digit of `value` that is not zero."""
    digits = f"{value:.0f}"
    return 0.5 * 10 ** (len(digits) - len(digits.rstrip("0")))


@pytest.mark.parametrize("name", SMALLEST_OF_FAMILY)
def test_torchs_counter_counts_the_same(name: str):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    entry = describe(name)
    module = import_module(entry.module)
    with torch.device("meta"), torch.no_grad():
        network = module.NETWORK(module.CONFIGS[name]).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(2, *entry.input))
    assert counter.get_total_flops() == 2 * 2 * entry.macs
    assert sum(parameter.numel() for parameter in network.parameters()) == entry.parameters


@pytest.mark.parametrize("name", ["lenet5_1998", "lenet5", "mobilenetv2_035"])
def test_fvcore_counts_the_same_multiply_adds(name: str):
    import torch
    from fvcore.nn import FlopCountAnalysis

    from neocog.models import create_model

    entry = describe(name)
    analysis = FlopCountAnalysis(create_model(name).eval(), torch.zeros(1, *entry.input))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = analysis.by_operator()
    assert by_operator["conv"] + by_operator["linear"] == entry.macs
