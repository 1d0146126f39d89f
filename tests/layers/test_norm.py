"""Batch norms that were folded away come back without changing what the network computes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neocog.layers.norm import is_identity_norm, unfold_batch_norms


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
