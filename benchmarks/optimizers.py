"""Steps of the optimisers written here, beside timm's and torch's, on the parameters of a network.

    python benchmarks/optimizers.py
    python benchmarks/optimizers.py --model resnet50 --pairs 40

Both sides move copies of the same parameters by the same gradients; nothing else is timed. LAMB and SGD with decoupled
decay stand beside timm's; Muon, on the network's filters alone, beside timm's and beside `torch.optim.Muon`, which
takes matrices only and so gets the filters already flattened. timm and torch multiply Muon's matrices in bfloat16
everywhere; ours does so on a GPU, and in float32 on a CPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from pairs import interleave, machine
from torch import Tensor, nn

from neocog import create_model
from neocog.train.optimizers import build_optimizer
from neocog.train.recipe import Optimizer
from neocog.train.task import decayed_and_exempt


def copies(named: list[tuple[str, nn.Parameter]]) -> list[tuple[str, nn.Parameter]]:
    """Return copies of parameters, with gradients of their own."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for name, parameter in named:
        twin = nn.Parameter(parameter.detach().clone())
        twin.grad = 0.01 * torch.randn(twin.shape, generator=generator)
        found.append((name, twin))
    return found


def our_step(named: list[tuple[str, nn.Parameter]], settings: Optimizer) -> Callable[[], object]:
    """Return a call that makes one step of ours."""
    return build_optimizer(decayed_and_exempt(copies(named), settings), settings).step


def plain_groups(named: list[tuple[str, nn.Parameter]], settings: Optimizer) -> list[dict[str, object]]:
    """Return groups without our own marks, over copies."""
    groups = decayed_and_exempt(copies(named), settings)
    return [{name: group[name] for name in ("params", "weight_decay")} for group in groups]


def flat(named: list[tuple[str, nn.Parameter]]) -> list[Tensor]:
    """Return the filters as matrices with gradients."""
    found = []
    for _, parameter in copies(named):
        matrix = nn.Parameter(parameter.detach().flatten(1))
        assert parameter.grad is not None
        matrix.grad = parameter.grad.flatten(1)
        found.append(matrix)
    return found


def main() -> None:
    """Compare, and print ratios with their intervals."""
    from timm.optim import Lamb
    from timm.optim.muon import Muon
    from timm.optim.sgdw import SGDW

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    named = list(create_model(options.model).named_parameters())
    filters = [(name, parameter) for name, parameter in named if parameter.ndim == 4]
    print(f"{machine()}\n{options.model}, {options.threads} threads: theirs over ours", flush=True)

    lamb = Optimizer(name="lamb", lr=1e-3, weight_decay=0.02)
    sgd = Optimizer(name="sgd", lr=1e-3, weight_decay=0.02, decoupled=True)
    muon = Optimizer(name="muon", lr=1e-3, weight_decay=0.02, nesterov=True)
    pairs = {
        "lamb, timm's Lamb": (
            our_step(named, lamb),
            Lamb(plain_groups(named, lamb), lr=1e-3, max_grad_norm=None).step,
        ),
        "sgd decoupled, timm's SGDW": (
            our_step(named, sgd),
            SGDW(plain_groups(named, sgd), lr=1e-3, momentum=0.9).step,
        ),
        "muon, torch's Muon": (
            our_step(filters, muon),
            torch.optim.Muon(flat(filters), lr=1e-3, weight_decay=0.02, momentum=0.9).step,
        ),
        "muon, timm's Muon": (
            our_step(filters, muon),
            Muon(
                plain_groups(filters, muon),
                lr=1e-3,
                momentum=0.9,
                nesterov=True,
                ns_coefficients="original",
                adjust_lr_fn="original",
            ).step,
        ),
    }
    for label, (ours, theirs) in pairs.items():
        few = max(5, options.pairs // 2) if "muon" in label else options.pairs
        print(f"{label}: {interleave(ours, theirs, few)}", flush=True)


if __name__ == "__main__":
    main()
