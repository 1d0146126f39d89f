"""How long a person waits for the command line: whole processes, from the shell's call to their end.

    python benchmarks/start.py
    python benchmarks/start.py --model resnet50 --pairs 30

`neocog --help` and `neocog models` are timed as they are, and against `python -c "import torch"`, which neither
does. `neocog predict` of one photograph is timed against the least that any such command has to do: import torch, and
run the network once. That least is the time of a process that imports torch, plus the time that the first forward
pass took in another process; a first pass is slower than later ones, and a command makes no other.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from pairs import Comparison, machine

NEOCOG = (sys.executable, "-m", "neocog")
IMPORT_TORCH = (sys.executable, "-c", "import torch")


def main() -> None:
    """Time the three commands, turn about, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mobilenetv2_100")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--forward", type=Path, help=argparse.SUPPRESS)  # what a child process is asked to do
    options = parser.parse_args()
    if options.forward is not None:
        print(first_forward(options.forward))
        return
    with tempfile.TemporaryDirectory() as folder:
        model, photograph = Path(folder, "model.safetensors"), Path(folder, "photograph.jpg")
        write_model(model, options.model)
        write_photograph(photograph)
        print(machine())
        for word in ("--help", "models"):
            comparison = compare([*NEOCOG, word], None, options.pairs)
            print(f"neocog {word}: {describe(comparison, 'import torch')}")
        predict = [*NEOCOG, "predict", str(model), str(photograph)]
        forward = [sys.executable, __file__, "--forward", str(model)]
        comparison = compare(predict, forward, options.pairs)
        print(f"neocog predict, {options.model}: {describe(comparison, 'import torch and the forward pass')}")


def compare(command: Sequence[str], forward: Sequence[str] | None, pairs: int) -> Comparison:
    """Time `command` and the least it could take in turn; which goes first alternates from pair to pair."""

    def least() -> float:
        return process(IMPORT_TORCH) + (float(output(forward)) if forward else 0.0)

    for once in (lambda: process(command), least):  # the files of both come into the system's cache
        once()
    ours, theirs = [], []
    for number in range(pairs):
        if number % 2:
            theirs.append(least())
            ours.append(process(command))
        else:
            ours.append(process(command))
            theirs.append(least())
    return Comparison(tuple(theirs), tuple(ours))


def describe(comparison: Comparison, other: str) -> str:
    """Return the command's median and quickest time, and its ratio to the other's with the interval."""
    low, high = comparison.interval
    ours, theirs = comparison.second, comparison.first
    return (
        f"{median(ours):.3f} s (quickest {min(ours):.3f}); {comparison.ratio:.3f}x of {other} "
        f"[{low:.3f}, {high:.3f}], which takes {median(theirs):.3f} s; {len(ours)} pairs"
    )


def process(command: Sequence[str]) -> float:
    """Return the seconds that a process took from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def output(command: Sequence[str]) -> str:
    """Return what a process printed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def first_forward(path: Path) -> float:
    """Return the seconds of a network's first forward pass."""
    import torch

    from neocog import load_model

    network = load_model(path).network
    image = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        start = time.perf_counter()
        network(image)
        return time.perf_counter() - start


def write_model(path: Path, name: str) -> None:
    """Write a model file of random weights."""
    from neocog import create_model
    from neocog.data.preprocess import Preprocessing
    from neocog.inference.model_file import Card, save_model

    preprocessing = Preprocessing(size=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    classes = tuple(f"class {number}" for number in range(1000))
    card = Card(model=name, num_classes=1000, classes=classes, preprocessing=preprocessing)
    save_model(path, create_model(name), card)


def write_photograph(path: Path) -> None:
    """Write a JPEG file of 500 x 375, smooth as photographs are."""
    import numpy as np
    from PIL import Image

    small = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(small).resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)


if __name__ == "__main__":
    main()
