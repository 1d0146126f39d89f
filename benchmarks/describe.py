"""How long it takes to count what a network costs, and in how much memory: neocog against torchinfo and fvcore.

    python benchmarks/describe.py
    python benchmarks/describe.py --pairs 20 timm.models.convnext:convnext_large

Every measurement is the first call of a process of its own, since a person asks once; torch, timm and the counter are
imported before the clock starts. neocog's time is that of the whole job: to find the network, to record a pass, to
count. The others' is that of the pass and the counting alone; they need a network with weights, and what it took to
make one stands beside it. Processes of neocog and of the other take turns. torchinfo is not among the development
dependencies: pip install torchinfo.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from statistics import median

from pairs import Comparison, machine

NETWORKS = (
    "timm.models.resnet:resnet50",
    "timm.models.vision_transformer:vit_large_patch16_224",
    "timm.models.convnext:convnext_large",
)
PEERS = ("torchinfo", "fvcore")
IMAGE = (3, 224, 224)


def main() -> None:
    """Measure, and print a line for each network and peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="MODULE:CALLABLE")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--training", action="store_true", help="neocog counts a training step, which no peer does")
    parser.add_argument("--child", choices=["neocog", *PEERS], help=argparse.SUPPRESS)  # what a process is asked to do
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps(measure(options.child, options.networks[0], options.training)))
        return
    print(machine())
    for network in options.networks:
        for peer in options.peers:
            compare(network, peer, options.pairs, options.training)


def compare(network: str, peer: str, pairs: int, training: bool) -> None:
    """Let processes of neocog and of a peer take turns, and print what they took."""

    def once(counter: str) -> dict[str, float]:
        command = [sys.executable, __file__, network, "--child", counter, *["--training"] * training]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    runs: dict[str, list[dict[str, float]]] = {"neocog": [], peer: []}
    for counter in runs:
        once(counter)  # its files come into the system's cache
    for number in range(pairs):
        for counter in list(runs) if number % 2 else reversed(list(runs)):
            runs[counter].append(once(counter))
    seconds = {counter: tuple(run["seconds"] for run in found) for counter, found in runs.items()}
    comparison = Comparison(seconds["neocog"], seconds[peer])
    low, high = comparison.interval
    peaks = {counter: max(run["peak_mb"] for run in found) for counter, found in runs.items()}
    print(
        f"{network.partition(':')[2]}: {median(seconds['neocog']):.3f} s (quickest {min(seconds['neocog']):.3f}, "
        f"peak {peaks['neocog']:.0f} MB); {peer} {median(seconds[peer]):.3f} s after {runs[peer][0]['making']:.1f} s "
        f"of making weights (peak {peaks[peer]:.0f} MB): {comparison.ratio:.1f}x [{low:.1f}, {high:.1f}], "
        f"{pairs} pairs",
        flush=True,
    )


def measure(counter: str, network: str, training: bool) -> dict[str, float]:
    """Time the first call of a counter in this process."""
    import resource
    import time
    from importlib import import_module

    module, _, name = network.partition(":")
    make = getattr(import_module(module), name)
    count = {"neocog": neocog, "torchinfo": torchinfo, "fvcore": fvcore}[counter](network, training)
    start = time.perf_counter()
    made = None if counter == "neocog" else make()
    middle = time.perf_counter()
    count(made)
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"making": middle - start, "seconds": end - middle, "peak_mb": peak}


def neocog(network: str, training: bool) -> Callable[[object], object]:
    """Return what counts with neocog, imported."""
    from neocog.analysis.cost import count_cost
    from neocog.jobs.subject import trace_subject

    return lambda made: count_cost(trace_subject(network, training=training)[1])


def torchinfo(network: str, training: bool) -> Callable[[object], object]:
    """Return what counts with torchinfo, imported."""
    from torchinfo import summary

    return lambda made: summary(made, (1, *IMAGE), verbose=0)


def fvcore(network: str, training: bool) -> Callable[[object], object]:
    """Return what counts with fvcore, imported."""
    import torch
    from fvcore.nn import FlopCountAnalysis

    def count(made: object) -> object:
        analysis = FlopCountAnalysis(made, torch.zeros(1, *IMAGE))
        return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()

    return count


if __name__ == "__main__":
    main()
