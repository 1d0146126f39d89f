"""Kernels are decomposed into one-dimensional ones, and put together again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.low_rank import Factors, cp_decompose, decompose_convolution, recompose_kernel


def kernel_of_rank(rank: int, shape: tuple[int, int, int, int] = (16, 8, 3, 5), seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    o, i, y, x = (torch.randn(side, rank, generator=generator, dtype=torch.float64) for side in shape)
    return torch.einsum("or,ir,yr,xr->oiyx", o, i, y, x)


@pytest.mark.parametrize("rank", [1, 2, 4, 6])
def test_a_kernel_of_the_rank_is_found_exactly(rank: int) -> None:
    for seed in range(3):
        kernel = kernel_of_rank(rank, seed=seed)
        factors = cp_decompose(kernel, rank)
        assert factors.rank == rank
        assert factors.error(kernel) < 1e-9
        torch.testing.assert_close(factors.kernel(), kernel)


def test_of_rank_one_it_is_the_best_there_is() -> None:
    # Of a kernel with a single row, column and a matrix of channels, the best is the first singular vectors' (Eckart
    # and Young 1936).
    kernel = torch.randn(9, 7, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(kernel[:, :, 0, 0])
    for rank in (1, 3, 7):
        expected = float(values[rank:].norm() / values.norm())
        assert cp_decompose(kernel, rank).error(kernel) == pytest.approx(expected, abs=1e-6)


def test_the_error_falls_with_the_rank() -> None:
    kernel = torch.randn(8, 6, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    errors = [cp_decompose(kernel, rank, iterations=100).error(kernel) for rank in (1, 4, 10, 20, 54)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.8
    assert errors[-1] < 1e-3  # 54 = 6 · 3 · 3: each of these numbers times its own outputs


def test_it_is_the_same_each_time_and_leaves_the_generator_alone() -> None:
    kernel, state = kernel_of_rank(3) + 0.1 * kernel_of_rank(9, seed=1), torch.get_rng_state()
    first, second = cp_decompose(kernel, 5), cp_decompose(kernel, 5)
    assert torch.equal(first.kernel(), second.kernel())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_vectors_of_each_product_are_equally_long() -> None:
    factors = cp_decompose(kernel_of_rank(4) * 1000, 4)
    lengths = torch.stack([f.norm(dim=0) for f in (factors.outputs, factors.inputs, factors.rows, factors.columns)])
    torch.testing.assert_close(lengths, lengths[:1].expand(4, -1))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": (2, 1), "padding": (1, 2)},
        {"padding": 2, "dilation": (1, 2), "bias": False},
        {"padding": "same"},
        {"padding": 1, "padding_mode": "reflect"},
    ],
    ids=str,
)
def test_four_convolutions_are_the_one(options) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(8, 16, (3, 5), **options).double()
    with torch.no_grad():
        convolution.weight.copy_(kernel_of_rank(3))
    layers = decompose_convolution(convolution, 3)
    x = torch.randn(2, 8, 13, 14, dtype=torch.float64)
    torch.testing.assert_close(layers(x), convolution(x))
    assert [tuple(layer.kernel_size) for layer in layers] == [(1, 1), (3, 1), (1, 5), (1, 1)]  # type: ignore[arg-type]
    weights = sum(parameter.numel() for parameter in layers.parameters())
    assert weights == 3 * (16 + 8 + 3 + 5) + (16 if convolution.bias is not None else 0)
    torch.testing.assert_close(recompose_kernel(layers), convolution.weight.detach())


def test_the_kernels_error_is_that_of_the_outputs() -> None:
    # Images with one pixel of one channel: what comes out is the kernel, and all of it.
    torch.manual_seed(0)
    convolution = nn.Conv2d(5, 7, 3, padding=2, bias=False).double()
    layers = decompose_convolution(convolution, 3)
    pixels = torch.zeros(5, 5, 5, 5, dtype=torch.float64)
    pixels[range(5), range(5), 2, 2] = 1
    distance = (layers(pixels) - convolution(pixels)).norm()
    error = (recompose_kernel(layers) - convolution.weight).norm()
    assert 0.1 < error / convolution.weight.norm() < 0.9
    torch.testing.assert_close(distance, error)


def test_a_trained_kernel_gives_more_of_itself_to_few_products_than_noise() -> None:
    smooth = torch.stack([torch.hann_window(5, periodic=False, dtype=torch.float64).roll(k) for k in range(16)])
    trained = torch.einsum("oy,ix->oiyx", smooth, smooth[:8]) + 0.05 * kernel_of_rank(60, (16, 8, 5, 5)) / 60
    noise = torch.randn(16, 8, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours, theirs = (cp_decompose(kernel, 25, iterations=50).error(kernel) for kernel in (trained, noise))
    assert ours < 0.3 * theirs


def test_weights_keep_their_kind_of_number() -> None:
    layers = decompose_convolution(nn.Conv2d(3, 4, 3).bfloat16(), 2)
    assert {parameter.dtype for parameter in layers.parameters()} == {torch.bfloat16}
    assert recompose_kernel(layers).dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cp_decompose(torch.rand(3, 4, 3), 2), r"\(3, 4, 3\)"),
        (lambda: cp_decompose(torch.zeros(3, 4, 3, 3), 2), "other than zero"),
        (lambda: cp_decompose(torch.rand(3, 4, 3, 3), 0), "at least 1, not 0"),
        (lambda: decompose_convolution(nn.Conv2d(4, 4, 3, groups=2), 2), "in 2 groups"),
    ],
)
def test_what_cannot_be_decomposed_is_refused(make, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_factors_are_the_sum_of_products() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(side, 3, generator=generator) for side in (4, 5, 2, 3)]
    torch.testing.assert_close(Factors(*parts).kernel(), torch.einsum("or,ir,yr,xr->oiyx", *parts))
