"""Whether a short training is the worse for the cache of decoded photographs: the same runs with and without it.

    python benchmarks/cache_accuracy.py ../shared/data/ants_bees
    python benchmarks/cache_accuracy.py ../shared/data/ants_bees --weights mobilenetv2_100.safetensors
    python benchmarks/cache_accuracy.py ../shared/data/ants_bees --epochs 20 --seeds 5

Each seed is trained twice by `quick`, so that both see the same order, boxes and flips, and differ only in the pixels
that the crops are cut from. Evaluation reads the files in both. The cache is filled by the first run that wants it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import mean, stdev

from pairs import machine

from neocog.jobs.training import train


def main() -> None:
    """Train, and print the accuracies and their difference over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--model", default="mobilenetv2_100")
    parser.add_argument("--weights")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(machine())
    differences = []
    for seed in range(options.seeds):
        accuracies = {}
        for cache in (False, True):
            with tempfile.TemporaryDirectory() as place:
                result = train(
                    options.folder,
                    model=options.model,
                    weights=options.weights,
                    overrides={"epochs": options.epochs, "seed": seed, "cache": cache},
                    out=Path(place, "run"),
                )
            accuracies[cache] = 100 * result.measured.top1
        differences.append(accuracies[True] - accuracies[False])
        print(f"seed {seed}: from the files {accuracies[False]:.1f} %, the cache {accuracies[True]:.1f} %", flush=True)
    spread = f" ± {stdev(differences):.1f} (standard deviation)" if len(differences) > 1 else ""
    print(f"the cache changes the accuracy by {mean(differences):+.1f}{spread} points over {len(differences)} seeds")


if __name__ == "__main__":
    main()
