"""`neocog lr-find`: the learning-rate range test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neocog.cli._options import (
    DataDir,
    Device,
    Json,
    ModelName,
    RecipeName,
    Settings,
    Source,
    WeightsName,
    parse_settings,
)
from neocog.cli._output import print_json, printable, say
from neocog.cli._progress import listening


def lr_find(
    source: Source,
    model: ModelName = None,
    recipe: RecipeName = None,
    weights: WeightsName = None,
    lowest: Annotated[float, typer.Option(metavar="RATE", help="First rate.")] = 1e-5,
    highest: Annotated[float, typer.Option(metavar="RATE", help="Last rate.")] = 1.0,
    steps: Annotated[int, typer.Option(metavar="N", help="Steps from the first to the last.")] = 100,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to draw the loss.")] = Path("lr-find.png"),
    data_dir: DataDir = None,
    device: Device = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Find a learning rate by training at rising ones.

    This is the learning-rate range test (Smith 2015): a few steps, and the loss drawn over the rate. The
    suggestion is the rate at which the loss fell fastest. The network is thrown away.

    Example:
      neocog lr-find ./photos --model resnet18
    """
    from neocog import jobs

    with listening() as listener:
        found = jobs.lr_find(
            source,
            model=model,
            recipe=recipe or "quick",
            weights=weights,
            overrides=parse_settings(settings or ()),
            data_dir=data_dir,
            device=device,
            lowest=lowest,
            highest=highest,
            steps=steps,
            out=out,
            listener=listener,
        )
    if as_json:
        print_json(
            {
                "suggestion": found.suggestion,
                "figure": str(found.figure),
                "lrs": found.lrs,
                "losses": found.losses,
            }
        )
        return
    say(f"suggestion  --lr {found.suggestion:.2g}")
    say(f"figure      {printable(str(found.figure))}")
