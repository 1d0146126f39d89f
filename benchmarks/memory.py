"""Peak memory: a training run against a bare loop, and loading a model file against its size.

    python benchmarks/memory.py

Each side runs in a process of its own and reports the most resident memory that the system ever saw it have. The two
training processes import the same modules, take the same batches and make the same number of steps. The model file
is loaded after everything is imported, and what is reported is the rise above that.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

STEPS, BATCH, SIZE, REPEATS = 6, 16, 160, 5


def peak() -> int:
    """Return the most resident memory this process ever had, in bytes; `ru_maxrss` would begin at its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def train(how: str, name: str) -> None:
    """Make some steps and print the peak."""
    import torch
    from training_step import bare_step, neocog_step

    from neocog.data.loading import Batch

    torch.manual_seed(0)
    batch = Batch(torch.randn(BATCH, 3, SIZE, SIZE), torch.randint(0, 1000, (BATCH,)), torch.arange(BATCH))
    step = {"neocog": neocog_step, "bare": bare_step}[how](name, batch, "fp32")
    for _ in range(STEPS):
        step()
    print(peak())


def load(path: str) -> None:
    """Load a model file, run it once, and print how far above the interpreter's its peak was."""
    from neocog.inference.model_file import load_model

    before = peak()
    loaded = load_model(path)
    for parameter in loaded.network.parameters():  # a mapped file costs memory only once it is read
        parameter.detach().sum()
    print(peak() - before)


def write(path: str, name: str) -> None:
    """Write the model file that `load` loads."""
    from neocog import create_model
    from neocog.data.preprocess import Preprocessing
    from neocog.inference.model_file import Card, save_model

    card = Card(
        model=name, num_classes=1000, in_chans=3, classes=tuple(map(str, range(1000))),
        preprocessing=Preprocessing(size=(224, 224), mean=(0.5,) * 3, std=(0.5,) * 3), data="none",
    )  # fmt: skip
    save_model(path, create_model(name), card)


def call(*arguments: str) -> int:
    """Run this script with `arguments` and return the number that it prints."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) if done.stdout.split() else 0


def main() -> None:
    """Compare, and print ratios."""
    for name in ("resnet50", "mobilenetv2_100"):
        peaks = {how: [call("train", how, name) for _ in range(REPEATS)] for how in ("neocog", "bare")}
        ours, bare = median(peaks["neocog"]), median(peaks["bare"])
        spread = max(max(values) / min(values) - 1 for values in peaks.values())
        print(
            f"training {name}, batch {BATCH} of {SIZE} pixels: neocog {ours / 2**20:.0f} MiB, bare loop "
            f"{bare / 2**20:.0f} MiB, ratio {ours / bare:.3f} (spread of a side {100 * spread:.1f} %)"
        )
    with tempfile.TemporaryDirectory() as folder:
        for name in ("resnet50", "resnet152"):
            path = str(Path(folder) / f"{name}.safetensors")
            call("write", path, name)
            size = Path(path).stat().st_size
            rise = median(call("load", path) for _ in range(REPEATS))
            print(f"loading {name}'s file of {size / 2**20:.0f} MiB: a peak of {rise / size:.3f} of its size")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"train": train, "load": load, "write": write}[sys.argv[1]](*sys.argv[2:])
    else:
        main()
