"""The fastest matrix product seen on this machine."""

from __future__ import annotations

import pytest
import torch

from neocog.analysis import machine_peak as module
from neocog.analysis.machine_peak import SIDES, machine_peak, uses_tf32


def test_it_is_the_rate_of_a_product_that_was_tried():
    peak = machine_peak()
    assert peak.side in SIDES
    assert peak.flops > 1e8
    assert (peak.precision, peak.device, peak.threads) == ("fp32", "cpu", torch.get_num_threads())


def test_it_is_measured_once_a_process():
    assert machine_peak() is machine_peak()


def test_the_largest_rate_of_all_sizes_is_taken(monkeypatch):
    # As if every product took a millisecond: the larger the faster, up to the last that is tried.
    monkeypatch.setattr(module, "elapsed", lambda work, device: 0.001)
    monkeypatch.setattr(module, "SIDES", (16, 32, 64))
    monkeypatch.setattr(module, "SECONDS_PER_SIDE", 0.003)
    peak = module._measured.__wrapped__("fp32", "cpu", 1, False)
    assert peak.side == 64
    assert peak.flops == pytest.approx(2 * 64**3 / 0.001)


def test_products_that_would_take_too_long_are_left_out(monkeypatch):
    tried = []
    monkeypatch.setattr(module, "elapsed", lambda work, device: tried.append(1) or 0.05)
    monkeypatch.setattr(module, "SIDES", (8, 16, 100_000))  # of the last, a single factor would fill the memory
    peak = module._measured.__wrapped__("fp32", "cpu", 1, False)
    assert peak.side == 8
    assert len(tried) < 10


def test_a_cpu_has_no_tensor_float():
    assert not uses_tf32("cpu")
    assert not machine_peak().tf32
