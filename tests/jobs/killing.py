"""Run by test_reliability in a process of its own: kills a training run again and again, and resumes it each time.

    python killing.py SOURCE OUT KILLS SEED WORKERS

Each attempt is a fork of this process, which has imported everything and computed nothing, so that a kill costs no
new start of Python. The number of workers differs from attempt to attempt where WORKERS is above 0.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

# What an attempt would import late, each time anew; the forks inherit it.
import datasets  # noqa: F401
import matplotlib.figure  # noqa: F401
import sklearn.datasets  # noqa: F401
import torch
import torch.utils.tensorboard

from neocog.jobs import _loop, training
from neocog.recipes import Facts, build_recipe

_loop.CHECKPOINT_SECONDS = 0.3  # so that many checkpoints lie in the middle of an epoch


def settings(source: str) -> dict[str, object]:
    """Return overrides that make a short run with everything in it that has a state."""
    common = {"threads": 1, "augment.flip": 0.5, "mix.mixup": 0.2, "repeats": 2, "augment.erase": 0.3}
    if source == "digits":
        return common | {"epochs": 4, "average.decay": 0.9, "augment.crop": "pad", "augment.pad": 2}
    return common | {
        "epochs": 3,
        "image_size": 32,
        "batch_size": 8,
        "augment.policy": "trivialaugment",
        "average.name": "uniform",
        "average.decay": 0.0,
        "unfreeze": 0.5,
        "vary.image_size": [[0, 24], [1, 32]],
    }


def attempt(source: str, out: Path, workers: int) -> None:
    """Train, or go on; never return to the parent's code."""
    if not (out / "run.json").exists():
        overrides = {**settings(source), "workers": workers}
        recipe = build_recipe("quick", Facts(small=True, model="lenet5" if source == "digits" else "resnet20"))
        training.train(source, recipe=recipe, overrides=overrides, out=out, device="cpu")
    else:
        training.resume(out, workers=workers)


def fork(source: str, out: Path, workers: int) -> int:
    """Start an attempt and return its process."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        attempt(source, out, workers)
        status = 0
    finally:
        os._exit(status)


def main(source: str, out: str, kills: int, seed: int, workers: int) -> None:
    """Make the unbroken run, then the broken one; print how the two ended."""
    chance, path = random.Random(seed), Path(out)
    start = time.monotonic()
    _, status = os.waitpid(fork(source, path / "whole", workers), 0)
    assert status == 0, "the unbroken run failed"
    span = time.monotonic() - start
    killed = attempts = 0
    while True:
        child = fork(source, path / "broken", chance.randint(0, workers))
        attempts += 1
        if killed < kills:
            time.sleep(chance.uniform(0.05, 0.5) * span)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
        elif status != 0:
            raise SystemExit("an attempt failed")
        elif killed >= kills:
            break
        else:  # it was done before the kill came: begin again, so that every kill hits a run at work
            (path / "broken").rename(path / f"done-{attempts}")
            span *= 0.8  # the machine has less to do than when the unbroken run was timed
    print(f"killed {killed} in {attempts} attempts, the unbroken run took {span:.1f} s")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
