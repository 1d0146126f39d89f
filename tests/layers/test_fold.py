"""Batch norms are folded away, and come back, without changing what the network computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.fold import fold_batch_norm, identity_batch_norm, is_identity_norm, unfold_batch_norms
from neocog.layers.norm import BatchNormReLU6


def identity_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    assert norm.running_var is not None
    norm.running_var.fill_(1 - norm.eps)
    nn.init.normal_(norm.bias)
    return norm


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), identity_norm(8), nn.ReLU(), nn.Conv2d(8, 4, 3), identity_norm(4)]
    return nn.Sequential(*layers).double()


def batches() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(4, 3, 12, 12, generator=generator, dtype=torch.float64) * 5 + 1 for _ in range(3)]


def test_an_identity_norm_is_recognised() -> None:
    assert is_identity_norm(identity_norm(3).eval())
    norm = identity_norm(3)
    norm.train()(torch.rand(2, 3, 4, 4))
    assert not is_identity_norm(norm)
    scaled = identity_norm(3)
    nn.init.constant_(scaled.weight, 2.0)
    assert not is_identity_norm(scaled)
    assert not is_identity_norm(nn.BatchNorm2d(3, track_running_stats=False))


def test_the_network_computes_what_it_did() -> None:
    folded = network().eval()
    before = [folded(images) for images in batches()]
    assert unfold_batch_norms(folded, batches()) == 2
    for images, expected in zip(batches(), before, strict=True):
        torch.testing.assert_close(folded(images), expected)
    assert not any(is_identity_norm(norm) for norm in folded if isinstance(norm, nn.BatchNorm2d))


def test_statistics_of_the_same_images_then_change_nothing() -> None:
    folded = network().eval()
    everything = torch.cat(batches())
    before = folded(everything)
    assert not torch.allclose(folded.train()(everything), before, rtol=0.1)
    folded = network()
    unfold_batch_norms(folded, batches())
    assert folded.training
    torch.testing.assert_close(folded(everything), before)


def test_norms_with_statistics_of_their_own_are_left_alone() -> None:
    folded = network()
    folded(batches()[0])
    state = {name: tensor.clone() for name, tensor in folded.state_dict().items()}
    assert unfold_batch_norms(folded, batches()) == 0
    assert all(torch.equal(tensor, state[name]) for name, tensor in folded.state_dict().items())


LAYERS = {
    "convolution": (lambda: nn.Conv2d(6, 8, 3, 2, 1), (6, 9, 9)),
    "no bias": (lambda: nn.Conv2d(6, 8, 3, bias=False), (6, 9, 9)),
    "groups": (lambda: nn.Conv2d(6, 8, 3, groups=2), (6, 9, 9)),
    "depthwise": (lambda: nn.Conv2d(6, 6, 3, groups=6, bias=False), (6, 9, 9)),
    "dilated": (lambda: nn.Conv2d(6, 8, 3, dilation=2, padding=2, padding_mode="reflect"), (6, 9, 9)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 8, 3, 2), (6, 5, 5)),
    "transposed groups": (lambda: nn.ConvTranspose2d(6, 8, 4, 2, 1, groups=2, bias=False), (6, 5, 5)),
    "one dimension": (lambda: nn.Conv1d(6, 8, 3), (6, 9)),
    "three dimensions": (lambda: nn.ConvTranspose3d(6, 8, 3, groups=2), (6, 3, 4, 5)),
    "linear": (lambda: nn.Linear(6, 8), (6,)),
    "linear, no bias": (lambda: nn.Linear(6, 8, bias=False), (6,)),
}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_folded_norm_changes_no_output(kind: str, affine: bool) -> None:
    torch.manual_seed(0)
    make, shape = LAYERS[kind]
    layer, x = make(), torch.randn(4, *shape)
    y = layer(x)
    norm = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[y.ndim - 2](y.shape[1], affine=affine)
    norm(y * 3 + 1)  # statistics that are not those of y
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    expected = norm.eval()(y)
    folded = fold_batch_norm(layer, norm)
    torch.testing.assert_close(folded(x), expected, rtol=1e-5, atol=1e-5)
    assert type(folded) is type(layer)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert folded.bias is not None
    assert folded.bias.requires_grad


def test_folding_keeps_the_kind_of_number() -> None:
    folded = fold_batch_norm(nn.Conv2d(2, 3, 1, bias=False).bfloat16(), nn.BatchNorm2d(3))
    assert folded.weight.dtype is folded.bias.dtype is torch.bfloat16  # type: ignore[union-attr]


def test_a_resnet_computes_the_same_without_norms() -> None:
    from neocog.models import create_model

    torch.manual_seed(0)
    network = create_model("resnet20")
    x = torch.rand(2, 3, 32, 32)
    for _ in range(3):
        network(x)
    expected = network.eval()(x)
    names = {name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    for name in sorted(names):
        layer = name.replace("bn", "conv")
        network.set_submodule(layer, fold_batch_norm(network.get_submodule(layer), network.get_submodule(name)))  # type: ignore[type-var, arg-type]
        network.set_submodule(name, nn.Identity())
    torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)


def test_a_norm_can_be_made_the_identity() -> None:
    x = torch.randn(8, 3, 5, 5, dtype=torch.float64) * 2 + 4
    norm = nn.BatchNorm2d(3).double()
    norm(x)
    assert not torch.allclose(norm.eval()(x), x)
    identity_batch_norm(norm)
    torch.testing.assert_close(norm(x), x)


def test_what_cannot_be_folded_is_refused() -> None:
    with pytest.raises(UsageError, match="without running statistics"):
        fold_batch_norm(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, track_running_stats=False))
    with pytest.raises(UsageError, match="of 4 channels cannot follow a layer of 3"):
        fold_batch_norm(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(4))
    with pytest.raises(UsageError, match="activates what it returns"):
        fold_batch_norm(nn.Conv2d(2, 3, 1), BatchNormReLU6(3))
    for norm in (nn.BatchNorm2d(3, affine=False), nn.BatchNorm2d(3, track_running_stats=False)):
        with pytest.raises(UsageError, match="where it has running statistics, weight and bias"):
            identity_batch_norm(norm)
