"""Stochastic depth leaves blocks out, saves their work, and agrees on average with what it does at test time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.analysis.cost import count_cost
from neocog.analysis.trace import trace_forward
from neocog.errors import UnknownNameError, UsageError
from neocog.layers.drop import StochasticDepth, linear_decay, with_zero_gradients


class Counted(nn.Module):
    """A residual function that counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return x * self.weight


class Block(nn.Module):
    """The paper's block around one convolution."""

    def __init__(self, survival: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.depth = StochasticDepth(survival)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.depth(x, lambda: self.conv(x)))


def drawn(depth: StochasticDepth, identity: Tensor, residual: Callable[[], Tensor], times: int) -> Tensor:
    torch.manual_seed(0)
    return torch.stack([depth(identity, residual) for _ in range(times)])


def test_a_block_that_is_left_out_is_not_computed() -> None:
    depth, block, x = StochasticDepth(0.3), Counted(), torch.rand(2, 3)
    torch.manual_seed(0)
    kept = 0
    for _ in range(200):
        before = block.passes
        y = depth(x, lambda: block(x))
        if block.passes == before:
            assert y is x
        else:
            kept += 1
            assert torch.equal(y, x + 2 * x)
    assert block.passes == kept
    assert kept / 200 == pytest.approx(0.3, abs=0.1)


def test_a_block_that_is_left_out_gets_no_gradient() -> None:
    depth, block, x = StochasticDepth(0.5), Counted(), torch.rand(2, 3)
    torch.manual_seed(0)
    seen = set()
    for _ in range(20):
        block.weight.grad, before = None, block.passes
        y = depth(x * block.weight.detach().requires_grad_(), lambda: block(x))
        y.sum().backward()
        assert (block.weight.grad is None) is (block.passes == before)
        seen.add(block.weight.grad is None)
    assert seen == {True, False}


def test_gradients_of_zero_can_be_asked_for() -> None:
    x, weight, frozen = torch.rand(2, 3, requires_grad=True), nn.Parameter(torch.ones(4)), torch.ones(4)
    y = with_zero_gradients(x, [weight, frozen])
    assert torch.equal(y, x)
    (3 * y).sum().backward()
    assert weight.grad is not None
    assert not weight.grad.any()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full_like(x, 3))
    with torch.no_grad():
        assert with_zero_gradients(x, [weight]) is x


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_the_mean_while_training_is_the_sum_at_test_time(mode: str) -> None:
    depth = StochasticDepth(0.7, mode)  # type: ignore[arg-type]
    x, f = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    mean = drawn(depth, x, lambda: f, 4000).mean(0)
    torch.testing.assert_close(mean, depth.eval()(x, lambda: f), rtol=0, atol=0.05)


def test_the_papers_test_time_scales_the_block_by_its_survival() -> None:
    x, f = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(StochasticDepth(0.7).eval()(x, lambda: f), x + 0.7 * f)
    assert torch.equal(StochasticDepth(0.7, "row").eval()(x, lambda: f), x + f)


def test_rows_are_timms_drop_path() -> None:
    from timm.layers import DropPath

    ours, theirs = StochasticDepth(0.6, "row"), DropPath(0.4)
    x, f = torch.randn(64, 3, 2, 2), torch.randn(64, 3, 2, 2)
    torch.manual_seed(1)
    expected = x + theirs(f)
    torch.manual_seed(1)
    torch.testing.assert_close(ours(x, lambda: f), expected)
    left_out = (ours(x, lambda: f) == x).flatten(1).all(1)
    assert 10 < left_out.sum() < 40


def test_certain_survival_is_an_ordinary_sum_and_draws_nothing() -> None:
    state = torch.get_rng_state()
    for mode in ("batch", "row"):
        depth = StochasticDepth(1, mode)  # type: ignore[arg-type]
        assert torch.equal(depth(torch.ones(2), lambda: torch.ones(2)), torch.full((2,), 2.0))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_seed_decides() -> None:
    x, f = torch.zeros(3, 1), torch.ones(3, 1)
    for mode in ("batch", "row"):
        depth = StochasticDepth(0.5, mode)  # type: ignore[arg-type]
        assert torch.equal(drawn(depth, x, lambda: f, 30), drawn(depth, x, lambda: f, 30))


def test_survival_decays_linearly_from_the_input() -> None:
    survival = linear_decay(54, 0.5)
    # Section 3, "Expected network depth": of the 54 blocks of ResNet-110 about 40 survive, (3L - 1) / 4.
    assert sum(survival) == pytest.approx((3 * 54 - 1) / 4)
    assert survival[-1] == 0.5
    assert survival[0] == pytest.approx(1 - 0.5 / 54)
    steps = {round(a - b, 12) for a, b in pairwise(survival)}
    assert len(steps) == 1
    assert linear_decay(3, 1.0) == (1, 1, 1)


def test_a_description_has_the_whole_network_whatever_is_drawn() -> None:
    network = nn.Sequential(*(Block(0.05) for _ in range(6)))
    costs = {count_cost(trace_forward(network, (3, 8, 8), training=training)).macs for training in (True, False)}
    assert costs == {6 * 81 * 64}


@pytest.mark.parametrize("survival", [0, -0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(survival: float) -> None:
    with pytest.raises(UsageError, match=f"not {survival}"):
        StochasticDepth(survival)
    with pytest.raises(UsageError, match=f"not {survival}"):
        linear_decay(3, survival)


def test_an_unknown_mode_and_no_blocks_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean row"):
        StochasticDepth(0.5, "rows")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not 0"):
        linear_decay(0, 0.5)


def test_dropout_has_the_mean_of_its_input_and_the_variance_of_its_mask() -> None:
    # Srivastava et al. 2014: a mask of mean 1 - p, divided by it, so that the variance is x² p / (1 - p).
    torch.manual_seed(0)
    x = torch.tensor([0.5, -1.0, 3.0], dtype=torch.float64).expand(200_000, 3)
    for p in (0.2, 0.5):
        y = nn.Dropout(p)(x)
        torch.testing.assert_close(y.mean(0), x[0], rtol=0.02, atol=0)
        torch.testing.assert_close(y.var(0), x[0].square() * p / (1 - p), rtol=0.03, atol=0)
        assert torch.equal(nn.Dropout(p).eval()(x), x)
