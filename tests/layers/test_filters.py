"""Classical filters are scipy's, and convolutions that nothing trains."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from neocog.analysis.cost import count_cost
from neocog.analysis.receptive_field import receptive_fields
from neocog.analysis.trace import trace_forward
from neocog.errors import UnknownNameError, UsageError
from neocog.layers.filters import (
    FrozenFilter,
    GaborBank,
    Gaussian,
    LaplacianOfGaussian,
    Sharpen,
    Sobel,
    SobelX,
    SobelY,
    Unsharp,
)

IMAGES = np.random.default_rng(0).random((2, 3, 23, 31)).astype(np.float32)


def each(function) -> Tensor:
    """Return what scipy makes of each channel of each image."""
    return torch.from_numpy(np.stack([[function(channel) for channel in image] for image in IMAGES]))


def sharpened(image: np.ndarray) -> np.ndarray:
    return ndimage.correlate(image, np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]), mode="nearest")


def unsharp(image: np.ndarray) -> np.ndarray:
    return image + 1.5 * (image - ndimage.gaussian_filter(image, 1.2, mode="nearest"))


@pytest.mark.parametrize(
    ("ours", "scipys", "tolerance"),
    [
        (SobelX(), lambda x: ndimage.sobel(x, axis=1, mode="nearest"), 1e-5),
        (SobelY(), lambda x: ndimage.sobel(x, axis=0, mode="nearest"), 1e-5),
        (Sobel(), lambda x: ndimage.generic_gradient_magnitude(x, ndimage.sobel, mode="nearest"), 1e-5),
        (Gaussian(1.7), lambda x: ndimage.gaussian_filter(x, 1.7, mode="nearest"), 1e-5),
        (Gaussian(0.6, truncate=3), lambda x: ndimage.gaussian_filter(x, 0.6, mode="nearest", truncate=3), 1e-5),
        (Sharpen(), sharpened, 1e-5),
        (Sharpen(), lambda x: x - ndimage.laplace(x, mode="nearest"), 1e-5),
        (Unsharp(1.2, 1.5), unsharp, 1e-5),
        (
            LaplacianOfGaussian(1.5, truncate=7),
            lambda x: ndimage.gaussian_laplace(x, 1.5, mode="nearest", truncate=7),
            1e-5,
        ),
        # Four sigma of the bell hold all but a thousandth of its second moment, which is what scipy's misses.
        (LaplacianOfGaussian(1.5), lambda x: ndimage.gaussian_laplace(x, 1.5, mode="nearest"), 1.5e-3),
    ],
)
def test_filters_are_scipys(ours: nn.Module, scipys, tolerance: float) -> None:
    torch.testing.assert_close(ours(torch.from_numpy(IMAGES)), each(scipys), atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("ours", "scipys"), [("replicate", "nearest"), ("reflect", "mirror"), ("circular", "wrap"), ("zeros", "constant")]
)
def test_padding_is_scipys_under_another_name(ours, scipys: str) -> None:
    expected = each(lambda x: ndimage.gaussian_filter(x, 1.5, mode=scipys))
    torch.testing.assert_close(Gaussian(1.5, padding=ours)(torch.from_numpy(IMAGES)), expected, atol=1e-5, rtol=0)


def test_nothing_is_trained_and_everything_is_saved() -> None:
    for layer in (SobelX(), GaborBank(4), Gaussian()):
        assert not list(layer.parameters())
        assert list(layer.state_dict()) == ["kernels"]
        x = torch.rand(1, 1, 40, 40, requires_grad=True)
        assert torch.autograd.grad(layer(x).square().sum(), x)[0].isfinite().all()


def test_a_flat_image_has_no_edges_also_at_its_border() -> None:
    flat = torch.full((1, 3, 40, 40), 0.7)
    for layer in (SobelX(), SobelY(), Sobel(), LaplacianOfGaussian(2), LaplacianOfGaussian(1.1), GaborBank()):
        assert layer(flat).abs().max() < 1e-6
    for layer in (Gaussian(3), Sharpen(), Unsharp(2, 3)):
        torch.testing.assert_close(layer(flat), flat)


def test_sobel_says_where_it_gets_brighter() -> None:
    ramp = torch.arange(5.0).expand(1, 1, 5, 5)
    assert SobelX()(ramp)[0, 0, 2, 2] == 8
    assert SobelY()(ramp)[0, 0, 2, 2] == 0
    assert SobelY()(ramp.mT)[0, 0, 2, 2] == 8
    assert Sobel()(ramp + ramp.mT)[0, 0, 2, 2].item() == pytest.approx(8 * math.sqrt(2))


def test_the_length_of_no_gradient_has_a_gradient() -> None:
    x = torch.zeros(1, 1, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(Sobel()(x).sum(), x)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_the_laplacian_of_a_bowl_is_its_curvature() -> None:
    places = torch.arange(-30.0, 31)
    bowl = (places[:, None] ** 2 + 3 * places[None, :] ** 2) / 2
    for sigma in (1.0, 2.5):
        answer = LaplacianOfGaussian(sigma)(bowl[None, None])[0, 0, 30, 30].item()
        assert answer == pytest.approx(1 + 3, rel=0.02)


def grating(angle: float, wavelength: float, phase: float = 0.0) -> Tensor:
    places = torch.arange(-40.0, 41)
    across = places[None, :] * math.cos(math.radians(angle)) + places[:, None] * math.sin(math.radians(angle))
    return torch.cos(2 * math.pi * across / wavelength + phase)[None, None]


@pytest.mark.parametrize("phase", [0.0, math.pi / 2])
def test_a_gabor_filter_answers_to_stripes_of_its_own_direction_and_width(phase: float) -> None:
    bank = GaborBank(6, 8.0, phase=phase)
    assert bank.angles == (0, 30, 60, 90, 120, 150)
    for number, angle in enumerate(bank.angles):
        answers = bank(grating(angle, 8.0, phase))[0, :, 40, 40]
        assert answers[number].item() == pytest.approx(1, abs=1e-4)
        others = torch.cat([answers[:number], answers[number + 1 :]])
        assert others.abs().max() < 0.3
        for wavelength in (4.0, 16.0):  # an octave away
            assert bank(grating(angle, wavelength, phase))[0, number, 30:50, 30:50].abs().max() < 0.25


def test_gabor_kernels_are_the_formula() -> None:
    bank = GaborBank(4, 6.0, sigma=3.0, aspect=0.8)
    radius = bank.kernels.shape[-1] // 2
    for number in range(4):
        theta = number * math.pi / 4
        expected = np.zeros((2 * radius + 1, 2 * radius + 1))
        for y in range(-radius, radius + 1):
            for x in range(-radius, radius + 1):
                across, along = x * math.cos(theta) + y * math.sin(theta), -x * math.sin(theta) + y * math.cos(theta)
                bell = math.exp(-(across**2 + 0.64 * along**2) / 18)
                expected[y + radius, x + radius] = bell * math.cos(2 * math.pi * across / 6)
        given = bank.kernels[number, 0].double().numpy()
        # But for its scale and the bell's share.
        assert np.corrcoef(given.ravel(), expected.ravel())[0, 1] > 0.999
    torch.testing.assert_close(bank.kernels[2], bank.kernels[0].mT)


def test_answers_to_a_channel_stand_beside_each_other() -> None:
    x, bank = torch.rand(2, 3, 20, 20), GaborBank(4, 4.0)
    y = bank(x)
    assert y.shape == (2, 12, 20, 20)
    torch.testing.assert_close(y[1:, 4:8], bank(x[1:, 1:2]))


def test_a_filter_is_counted_and_seen_as_the_convolution_it_is() -> None:
    network = nn.Sequential(SobelX(), Gaussian(1.0), Sobel())
    trace = trace_forward(network, (3, 16, 16))
    cost = count_cost(trace)
    assert not cost.uncounted
    assert cost.macs == 3 * 256 * (9 + 81 + 18)
    fields = receptive_fields(trace)
    assert not fields.unknown
    assert fields.rows[-1].size == (13, 13)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(0), "positive, not 0"),
        (lambda: LaplacianOfGaussian(-1), "positive, not -1"),
        (lambda: Gaussian(torch.nan), "sigma is nan, must be finite"),
        (lambda: Unsharp(2, torch.inf), "amount is inf, must be finite"),
        (lambda: GaborBank(4, phase=torch.nan), "phase is nan, must be finite"),
        (lambda: GaborBank(0), "at least 1 orientation, not 0"),
        (lambda: GaborBank(4, 0), "are positive, not 0"),
        (lambda: FrozenFilter(torch.zeros(4, 4)), r"odd sides, not \(1, 4, 4\)"),
        (lambda: FrozenFilter(torch.zeros(3)), r"not \(3,\)"),
        (lambda: Gaussian(2, padding="reflect")(torch.zeros(1, 1, 9, 8)), "side of 8 pixels cannot be continued by 8"),
        (lambda: Gaussian(2, padding="circular")(torch.zeros(1, 1, 7, 8)), "side of 7 pixels cannot be continued by 8"),
    ],
)
def test_what_is_no_filter_is_refused(make, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_an_unknown_padding_is_answered_with_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean reflect"):
        SobelX("reflected")  # type: ignore[arg-type]
