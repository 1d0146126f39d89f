"""The reading copies of convolution and of its gradients agree with torch, autograd and scipy, in double precision."""

# ruff: noqa: E741 - I and O are the formulas' names

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.conv import Conv2dSame
from neocog.layers.convolution_by_hand import (
    Geometry,
    backward,
    bias_gradient,
    convolve,
    correlate,
    forward,
    input_gradient,
    kernel_gradient,
    padded_places,
    true_convolution,
)

GEOMETRIES = {
    "plain": Geometry(),
    "stride for each axis": Geometry(stride=(2, 3), padding=(1, 0)),
    "dilation for each axis": Geometry(dilation=(1, 2), padding=2),
    "all": Geometry(stride=(3, 2), dilation=(2, 1), padding=(2, 1), groups=2),
    "depthwise": Geometry(padding=1, groups=4),
    "true convolution": Geometry(stride=(1, 2), padding=1, groups=2, flip=True),
    "reflect": Geometry(padding=(2, 3), mode="reflect", stride=2),
    "replicate": Geometry(padding=(3, 1), mode="replicate", groups=2),
    "circular": Geometry(padding=(2, 4), mode="circular", dilation=2),
    "circular, all round": Geometry(padding=(7, 8), mode="circular"),
    "same": Geometry(padding="same"),
    "same, stride": Geometry(padding="same", stride=(2, 3), dilation=(2, 1)),
    "same, reflect": Geometry(padding="same", mode="reflect", stride=2),
}
TORCHS = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def tensors(*shapes: Sequence[int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]


def by_torch(image: Tensor, kernel: Tensor, bias: Tensor, geometry: Geometry) -> Tensor:
    """Pad with torch's own padding, convolve with torch's own convolution."""
    axes = image.ndim - 2
    pads = geometry.pads(image.shape[2:], kernel.shape[2:])
    amounts = [amount for pad in reversed(pads) for amount in pad]
    if any(amounts):
        image = F.pad(image, amounts, mode=TORCHS[geometry.mode])
    kernel = kernel.flip(*range(2, kernel.ndim)) if geometry.flip else kernel
    function = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    return function(image, kernel, bias, geometry.stride, 0, geometry.dilation, geometry.groups)


def given(geometry: Geometry) -> list[Tensor]:
    return tensors((2, 4, 7, 8), (4, 4 // geometry.groups, 3, 2), (4,))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_numpys_forward_and_three_gradients_are_torchs(name: str) -> None:
    geometry = GEOMETRIES[name]
    image, kernel, bias = given(geometry)
    expected = by_torch(image, kernel, bias, geometry)
    arrays = [tensor.detach().numpy() for tensor in (image, kernel, bias)]
    result = forward(*arrays, geometry)
    np.testing.assert_allclose(result, expected.detach().numpy(), rtol=1e-12, atol=1e-12)
    (upstream,) = tensors(expected.shape)
    gradients = torch.autograd.grad(expected, [image, kernel, bias], upstream)
    ours = backward(upstream.detach().numpy(), arrays[0], arrays[1], geometry)
    for one, other in zip(ours, gradients, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_pytorchs_forward_and_three_gradients_are_torchs(name: str) -> None:
    geometry = GEOMETRIES[name]
    inputs = given(geometry)
    ours, theirs = convolve(*inputs, geometry), by_torch(*inputs, geometry)
    torch.testing.assert_close(ours, theirs)
    (upstream,) = tensors(ours.shape)
    for one, other in zip(
        torch.autograd.grad(ours, inputs, upstream), torch.autograd.grad(theirs, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("axes", [1, 3])
def test_one_and_three_axes_are_torchs_too(axes: int) -> None:
    geometry = Geometry(stride=(2, 1, 2)[:axes], dilation=(1, 2, 1)[:axes], padding=1, groups=2)
    inputs = tensors((2, 4, *(9, 6, 7)[:axes]), (6, 2, *(3, 2, 3)[:axes]), (6,))
    expected = by_torch(*inputs, geometry)
    (upstream,) = tensors(expected.shape)
    gradients = torch.autograd.grad(expected, inputs, upstream)
    torch.testing.assert_close(convolve(*inputs, geometry), expected)
    arrays = [tensor.detach().numpy() for tensor in inputs]
    np.testing.assert_allclose(forward(*arrays, geometry), expected.detach().numpy(), atol=1e-12)
    for one, other in zip(backward(upstream.detach().numpy(), *arrays[:2], geometry), gradients, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-11)


def test_one_axis_is_two_of_height_one_and_three_are_a_sum_over_frames() -> None:
    signal, kernel, video, cube = tensors((2, 4, 9), (6, 4, 3), (2, 4, 5, 6, 7), (6, 4, 3, 2, 3))
    flat = convolve(signal.unsqueeze(2), kernel.unsqueeze(2))
    torch.testing.assert_close(flat.squeeze(2), F.conv1d(signal, kernel))
    frames = [sum(convolve(video[:, :, t + i], cube[:, :, i]) for i in range(3)) for t in range(3)]
    torch.testing.assert_close(torch.stack(frames, 2), F.conv3d(video, cube))


@pytest.mark.parametrize(
    ("stride", "dilation"), [((1, 1), (1, 1)), ((2, 3), (1, 1)), ((2, 1), (1, 2)), ((3, 2), (2, 2))]
)
def test_the_lectures_loops_are_torchs(stride: tuple[int, int], dilation: tuple[int, int]) -> None:
    image, kernel, bias = tensors((1, 2, 7, 8), (3, 2, 3, 2), (3,))
    expected = F.conv2d(image, kernel, bias, stride, 0, dilation)
    (upstream,) = tensors(expected.shape)
    gradients = torch.autograd.grad(expected, [image, kernel, bias], upstream)

    # As the lectures write them: image (H, W, C_i), kernel (H_K, W_K, C_i, C_o), output (H', W', C_o).
    I, K = (tensor.detach().numpy() for tensor in (image[0].permute(1, 2, 0), kernel.permute(2, 3, 1, 0)))
    O, dO = (tensor.detach()[0].permute(1, 2, 0).numpy() for tensor in (expected, upstream))
    np.testing.assert_allclose(correlate(I, K, bias.detach().numpy(), stride, dilation), O, atol=1e-12)
    dI, dK, db = gradients[0][0].permute(1, 2, 0), gradients[1].permute(2, 3, 1, 0), gradients[2]
    np.testing.assert_allclose(input_gradient(dO, K, I.shape[:2], stride, dilation), dI.numpy(), atol=1e-12)
    np.testing.assert_allclose(kernel_gradient(dO, I, K.shape[:2], stride, dilation), dK.numpy(), atol=1e-12)
    np.testing.assert_allclose(bias_gradient(dO), db.numpy(), atol=1e-12)


def test_an_output_sums_over_input_channels_where_a_lecture_prints_output_channels() -> None:
    # Printed: O(n, m, c_o) = Σ_{i, j, c_o} I(n + i, m + j, c_i) K(i, j, c_i, c_o). The sum runs over i, j, c_i.
    I, K = np.ones((3, 3, 5)), np.ones((3, 3, 5, 2))
    np.testing.assert_array_equal(correlate(I, K, np.zeros(2)), np.full((1, 1, 2), 3 * 3 * 5))


def test_the_two_kinds_are_scipys_convolve_and_correlate() -> None:
    from scipy import signal

    image, kernel = (tensor.detach().numpy() for tensor in tensors((7, 6), (3, 2)))
    for flip, theirs in ((True, signal.convolve2d), (False, signal.correlate2d)):
        ours = forward(image[None, None], kernel[None, None], geometry=Geometry(flip=flip))
        np.testing.assert_allclose(ours[0, 0], theirs(image, kernel, mode="valid"), atol=1e-12)
        loops = (true_convolution if flip else correlate)(image[..., None], kernel[..., None, None], np.zeros(1))
        np.testing.assert_allclose(loops[..., 0], ours[0, 0], atol=1e-12)


def test_the_gradient_of_an_image_is_a_true_convolution_of_the_outputs_gradient() -> None:
    from scipy import signal

    image, kernel = tensors((1, 1, 7, 6), (1, 1, 3, 2))
    output = F.conv2d(image, kernel)
    (upstream,) = tensors(output.shape)
    (gradient,) = torch.autograd.grad(output, image, upstream)
    full = signal.convolve2d(*(tensor.detach()[0, 0].numpy() for tensor in (upstream, kernel)), mode="full")
    np.testing.assert_allclose(gradient[0, 0].numpy(), full, atol=1e-12)


def test_turning_the_kernel_round_makes_no_difference_to_what_can_be_learned() -> None:
    image, kernel, bias = tensors((2, 3, 6, 6), (4, 3, 3, 3), (4,))
    convolution = convolve(image, kernel.flip(2, 3), bias, Geometry(flip=True))
    torch.testing.assert_close(convolution, convolve(image, kernel, bias))
    one = torch.autograd.grad(convolution.square().sum(), kernel)[0]
    torch.testing.assert_close(one, torch.autograd.grad(convolve(image, kernel, bias).square().sum(), kernel)[0])


def test_gradients_are_right_to_the_second_order() -> None:
    geometry = Geometry(stride=2, dilation=(1, 2), padding=1, groups=2, flip=True)
    inputs = tensors((1, 2, 4, 5), (2, 1, 2, 2), (2,))
    assert torch.autograd.gradcheck(lambda *given: convolve(*given, geometry), inputs)
    assert torch.autograd.gradgradcheck(lambda *given: convolve(*given, geometry), inputs)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(("length", "before", "after"), [(5, 0, 0), (5, 2, 1), (5, 4, 3), (2, 1, 1), (1, 0, 0)])
def test_padding_is_torchs(mode: str, length: int, before: int, after: int) -> None:
    places = torch.arange(length, dtype=torch.float64).view(1, 1, -1)
    if mode == "zeros":
        expected = F.pad(places, (before, after), value=-1)
    else:
        expected = F.pad(places, (before, after), mode=mode)
    np.testing.assert_array_equal(padded_places(length, before, after, mode), expected[0, 0].numpy())


def test_an_image_cannot_be_reflected_or_wrapped_beyond_itself() -> None:
    with pytest.raises(UsageError, match="axis of 3 cannot be padded by 3 in mode reflect: at most 2"):
        padded_places(3, 3, 0, "reflect")
    with pytest.raises(UsageError, match="axis of 3 cannot be padded by 4 in mode circular: at most 3"):
        padded_places(3, 0, 4, "circular")


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_same_is_torchs_and_tensorflows(mode: str) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, (4, 3), padding="same", dilation=(1, 2), padding_mode=mode).double()
    (x,) = tensors((1, 2, 6, 7))
    geometry = Geometry(padding="same", dilation=(1, 2), mode=mode)
    torch.testing.assert_close(convolve(x, layer.weight, layer.bias, geometry), layer(x))
    strided = Conv2dSame(2, 3, 3, (2, 3)).double()
    ours = convolve(x, strided.weight, strided.bias, Geometry(padding="same", stride=(2, 3)))
    torch.testing.assert_close(ours, strided(x))


def test_what_does_not_fit_or_divide_is_refused() -> None:
    image, kernel = np.zeros((1, 4, 5, 5)), np.zeros((6, 4, 6, 3))
    with pytest.raises(UsageError, match="a kernel of 6 does not fit an input of 5"):
        forward(image, kernel)
    with pytest.raises(UsageError, match="4 groups do not divide out_channels 6"):
        convolve(torch.zeros(1, 4, 5, 5), torch.zeros(6, 1, 3, 3), geometry=Geometry(groups=4))
