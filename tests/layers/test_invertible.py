"""Invertible 1×1 convolutions are inverted, and their log-determinant is that of the whole Jacobian."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.invertible import InvertibleConv1x1, InvertibleConv1x1LU

FORMS = [InvertibleConv1x1, InvertibleConv1x1LU]


def trained(form: type[nn.Module], channels: int, seed: int = 0) -> nn.Module:
    """Return a layer that has left its rotation."""
    torch.manual_seed(seed)
    layer = form(channels).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return layer


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [1, 2, 3, 12])
def test_its_inverse_brings_the_input_back(form, channels: int) -> None:
    layer = trained(form, channels)
    x = torch.randn(2, channels, 4, 5, dtype=torch.float64)
    y = layer(x)
    torch.testing.assert_close(layer.inverse(y), x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(layer(layer.inverse(x)), x, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(y, x, atol=0.1)


@pytest.mark.parametrize("form", FORMS)
def test_its_log_determinant_is_the_whole_jacobians(form) -> None:
    layer = trained(form, 3)
    x = torch.randn(1, 3, 2, 4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda image: layer(image).flatten(), x).reshape(24, 24)
    torch.testing.assert_close(layer.log_determinant(2, 4), torch.linalg.slogdet(jacobian).logabsdet)
    assert layer.log_determinant(2, 4).abs() > 0.1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(4))
def test_it_starts_as_a_rotation(form, seed: int) -> None:
    torch.manual_seed(seed)
    matrix = form(6).matrix()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(6), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(()), rtol=0, atol=1e-4)
    assert form(6).log_determinant(8, 8).abs() < 1e-3


def test_both_forms_are_one_matrix_product() -> None:
    for form in FORMS:
        layer = trained(form, 5)
        x = torch.randn(2, 5, 3, 3, dtype=torch.float64)
        torch.testing.assert_close(layer(x), torch.einsum("oc,nchw->nohw", layer.matrix(), x))


def test_a_permutation_of_channels_changes_no_volume() -> None:
    layer = InvertibleConv1x1(4)
    order = [2, 0, 3, 1]
    with torch.no_grad():
        layer.weight.copy_(torch.eye(4)[order])
    x = torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(layer(x), x[:, order])
    assert layer.log_determinant(3, 3) == 0


def test_the_lu_form_stays_invertible_and_counts_what_the_paper_says() -> None:
    layer = trained(InvertibleConv1x1LU, 6, seed=1)
    # Only the triangles count, whatever lies in the other halves: C (C - 1) / 2 twice, and C scales.
    matrix = layer.matrix()
    with torch.no_grad():
        layer.lower += torch.ones(6, 6, dtype=torch.float64).triu()
        layer.upper += torch.ones(6, 6, dtype=torch.float64).tril()
    torch.testing.assert_close(layer.matrix(), matrix)
    torch.testing.assert_close(
        torch.linalg.slogdet(matrix).logabsdet, layer.log_determinant(1, 1), rtol=1e-9, atol=1e-9
    )
    assert {name for name, _ in layer.named_parameters()} == {"lower", "upper", "log_scale"}
    assert {name for name, _ in layer.named_buffers()} == {"permutation", "sign"}


@pytest.mark.parametrize("form", FORMS)
def test_its_gradients_are_right(form) -> None:
    layer = trained(form, 3)
    names = [name for name, _ in layer.named_parameters()]
    x = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)

    def loss(x: Tensor, *parameters: Tensor) -> Tensor:
        class Both(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = layer

            def forward(self, x: Tensor) -> Tensor:
                return self.layer(x).sum() + self.layer.log_determinant(2, 2)

        state = {f"layer.{name}": value for name, value in zip(names, parameters, strict=True)}
        return torch.func.functional_call(Both(), state, (x,))

    assert torch.autograd.gradcheck(loss, (x, *layer.parameters()))


def test_a_flow_learns_to_whiten_by_maximum_likelihood() -> None:
    # With a normal prior, -log p = |y|² / 2 - log|det W|: at its least, W's outputs have the identity as covariance.
    torch.manual_seed(0)
    mix = torch.tensor([[2.0, 0.5, 0], [0, 1.0, -0.7], [0.3, 0, 0.5]])
    x = torch.einsum("oc,nchw->nohw", mix, torch.randn(32, 3, 4, 4))
    for form in FORMS:
        layer = form(3)
        optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
        for _ in range(150):
            loss = layer(x).square().sum((1, 2, 3)).mean() / 2 - layer.log_determinant(4, 4)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        covariance = layer(x).transpose(0, 1).flatten(1).cov(correction=0)
        torch.testing.assert_close(covariance, torch.eye(3), rtol=0, atol=0.05)


def test_no_channels_are_refused() -> None:
    for form in FORMS:
        with pytest.raises(UsageError, match="channels is 0"):
            form(0)
