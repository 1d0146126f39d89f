"""Creating a network with weights from a local file: neocog against timm.

    python benchmarks/create.py resnet152

Both read the same safetensors file, written here from random weights, so that no hub is asked and both are strict.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import timm
from pairs import interleave, machine
from safetensors.torch import save_file

from neocog import create_model


def main() -> None:
    """Compare, and print the ratio with its interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="resnet152")
    parser.add_argument("--pairs", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file(timm.create_model(options.name).state_dict(), path)
        print(f"{machine()}\n{options.name} with weights from a file of {path.stat().st_size / 1e6:.0f} MB")
        comparison = interleave(
            lambda: create_model(options.name, weights=path),
            lambda: timm.create_model(options.name, pretrained=True, pretrained_cfg_overlay={"file": str(path)}),
            options.pairs,
        )
    print(f"neocog against timm: {comparison}")


if __name__ == "__main__":
    main()
