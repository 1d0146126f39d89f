"""What leaving blocks out saves: a training step of ResNet-110 with stochastic depth against one without.

    python benchmarks/stochastic_depth.py
    python benchmarks/stochastic_depth.py --depths 2 2 2 --batch 128

Of the 54 blocks an expected 40.25 are computed, so that a step should take some three quarters of the time: Huang et
al. 2016 (arXiv:1603.09382, section 4) say that a quarter is saved, and the authors' repository gives 60 s an epoch
against 75 s. Each pair is a step of `fit` on the same images in the same precision, with decisions of its own; since
these vary from step to step, the means of both sides are printed beside the median ratio.
"""

from __future__ import annotations

import argparse
from statistics import mean

import torch
from pairs import interleave, machine
from training_step import SameBatch

from neocog import create_model
from neocog.data.loading import Batch
from neocog.train.fit import fit
from neocog.train.recipe import Recipe
from neocog.train.supervised import SupervisedTask


def main() -> None:
    """Compare, and print the ratio and the share that is saved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--depths", type=int, nargs=3, default=(18, 18, 18))
    parser.add_argument("--last-survival", type=float, default=0.5)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    options = parser.parse_args()

    torch.manual_seed(0)
    images = torch.randn(options.batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    batch = Batch(images, torch.randint(0, 10, (options.batch,)), torch.arange(options.batch))
    recipe = Recipe().override({"precision": options.precision, "optimizer.lr": 1e-3, "epochs": 1})
    depths = tuple(options.depths)
    networks = (
        create_model("resnet110_stochastic_depth", depths=depths, last_survival=options.last_survival),
        create_model("resnet110", depths=depths),
    )
    expected = networks[0].expected_blocks / sum(depths)
    runs = [
        fit(SupervisedTask(network.to(memory_format=torch.channels_last)), SameBatch(batch), recipe)
        for network in networks
    ]
    print(f"{machine()}, {torch.get_num_threads()} threads\n{sum(depths)} blocks, batch {options.batch}")
    found = interleave(lambda: next(runs[0]), lambda: next(runs[1]), options.pairs)
    saved = 1 - mean(found.first) / mean(found.second)
    print(f"with stochastic depth against without: {found}")
    print(f"{saved:.1%} of the time saved in the mean; {1 - expected:.1%} of the blocks are left out on average")


if __name__ == "__main__":
    main()
