"""Make the pictures that the docs show.

python tools/pictures.py                          # all of them, into docs/pictures
python tools/pictures.py resnet50                 # the drawing of one network
NEOCOG_WEIGHTS=DIR python tools/pictures.py field # what a trained MobileNetV2 listens to, on a painted scene
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from neocog import jobs
from neocog.visualize import ilsvrc_results

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
DRAWN = ("lenet5", "resnet18", "resnet50", "resnetv2_50", "mobilenetv2_100")


def scene(side: int = 896) -> Image.Image:
    """Return a painted landscape of `side` x `side` pixels: no photograph may lie in the repository."""
    image = Image.new("RGB", (side, side))
    pen = ImageDraw.Draw(image)
    for row in range(side):  # sky
        share = row / side
        pen.line([(0, row), (side, row)], (int(120 + 120 * share), int(170 + 60 * share), 235))
    pen.ellipse([side * 0.72, side * 0.1, side * 0.84, side * 0.22], (255, 236, 150))
    for base, height, colour in ((0.62, 0.22, (110, 135, 160)), (0.7, 0.16, (86, 128, 96))):  # hills
        for middle in (0.1, 0.45, 0.85):
            pen.polygon(
                [((middle - 0.4) * side, base * side), (middle * side, (base - height) * side),
                 ((middle + 0.4) * side, base * side)], colour,
            )  # fmt: skip
    pen.rectangle([0, side * 0.62, side, side], (96, 150, 80))
    pen.polygon(
        [(side * 0.5, side * 0.62), (side * 0.56, side * 0.62), (side, side), (side * 0.3, side)], (196, 178, 140)
    )
    pen.rectangle([side * 0.3, side * 0.42, side * 0.62, side * 0.68], (214, 190, 160))  # house
    pen.polygon([(side * 0.26, side * 0.42), (side * 0.46, side * 0.27), (side * 0.66, side * 0.42)], (160, 64, 48))
    for left in (0.34, 0.43, 0.52):
        pen.rectangle([left * side, side * 0.47, (left + 0.06) * side, side * 0.55], (70, 90, 120))
    pen.rectangle([side * 0.44, side * 0.58, side * 0.5, side * 0.68], (96, 60, 40))
    for x, y, size in ((0.12, 0.6, 0.09), (0.2, 0.66, 0.07), (0.82, 0.62, 0.1)):  # trees
        pen.rectangle([(x - 0.012) * side, y * side, (x + 0.012) * side, (y + 0.09) * side], (84, 60, 40))
        pen.ellipse([(x - size) * side, (y - 2 * size) * side, (x + size) * side, y * side], (52, 104, 60))
    return image.filter(ImageFilter.GaussianBlur(1.5))


def field() -> Path:
    """Draw what a layer of a trained MobileNetV2 can see and listens to; its weights must be at hand."""
    with tempfile.TemporaryDirectory() as folder:
        painted = Path(folder) / "scene.png"
        scene().save(painted)
        out = PICTURES / "receptive_field_mobilenetv2.png"
        jobs.receptive_field("mobilenetv2_100", weights="default", layer="blocks.3", on=painted, out=out)
    return out


def growth() -> Path:
    """Draw how ResNet-18's receptive field grows."""
    out = PICTURES / "receptive_field_resnet18_growth.png"
    jobs.receptive_field("resnet18", out=out)
    return out


def compared() -> Path:
    """Draw published accuracy against multiply-adds."""
    out = PICTURES / "compare.png"
    jobs.compare(["resnet*", "mobilenet*"], out=out)
    return out


def filters() -> Path:
    """Draw what classical filters make of the painted scene."""
    out = PICTURES / "filters.png"
    jobs.filter_image(scene(), out=out)
    return out


def ilsvrc() -> Path:
    """Draw the results of the ImageNet challenge."""
    return ilsvrc_results(PICTURES / "ilsvrc.png")


OTHERS = {"field": field, "growth": growth, "compare": compared, "filters": filters, "ilsvrc": ilsvrc}


def main() -> None:
    """Make what the command line names, or everything."""
    names = (*DRAWN, *OTHERS)
    parser = argparse.ArgumentParser(description="Make the pictures that the docs show.")
    parser.add_argument("names", nargs="*", default=names, metavar="NAME", help=f"default: {' '.join(names)}")
    for name in parser.parse_args().names:
        print(OTHERS[name]() if name in OTHERS else jobs.draw(name, out=PICTURES / f"{name}.svg").figure)


if __name__ == "__main__":
    main()
