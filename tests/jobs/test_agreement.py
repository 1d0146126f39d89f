"""Several processes train by one plan, whatever each of their machines would have chosen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from neocog import jobs
from neocog.errors import TrainingError
from neocog.jobs import _plan
from neocog.jobs._plan import agree, plan_stages
from neocog.recipes import Recipe
from neocog.train.run import Run

TINY = {"epochs": 1, "threads": 1, "workers": 0, "image_size": 32, "batch_size": 8}

# Each process has a folder for caches of its own, as on a machine of its own. A file lies in the way of the main one's.
TOGETHER = """
import json, os, sys
from pathlib import Path
from neocog import jobs
from neocog.jobs import training
folder, photographs = Path(sys.argv[1]), sys.argv[2]
rank = os.environ["RANK"]
own = folder / f"machine{rank}"
own.mkdir()
if rank == "0":
    (own / "caches").write_text("in the way")
os.environ["NEOCOG_CACHE"] = str(own / "caches" / "here")
chosen, agree = [], training.agree
def watch(plans):
    chosen.append(plans[0].cache)
    agreed = agree(plans)
    chosen.append(agreed[0].cache)
    return agreed
training.agree = watch
jobs.train(photographs, model="resnet20", overrides=json.loads(sys.argv[3]), out=folder / "run")
(folder / f"rank{rank}.json").write_text(json.dumps(chosen))
"""


def test_the_main_process_decides_whether_there_is_a_cache(photographs: Path, tmp_path: Path) -> None:
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = subprocess.run(
        [*command, str(script), str(tmp_path), str(photographs), json.dumps(TINY)],
        capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert (first, second) == ([None, None], [37, None])  # before and after they agreed
    assert Run.open(tmp_path / "run").facts["status"] == "finished"
    assert [path for path in (tmp_path / "machine1").rglob("*") if path.is_file()] == []


def plans_of(source: Path) -> tuple[_plan.Plan, ...]:
    return plan_stages(
        source, data_dir=None, model=None, recipe=Recipe(model="resnet20", image_size=32), weights=None, overrides=TINY,
        device="cpu", listener=jobs.Listener(),
    )[1]  # fmt: skip


def test_a_plan_is_the_main_process_s_but_for_the_device(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = plans_of(photographs)
    main = tuple(plan.model_copy(update={"device": "cuda:0", "cache": 99, "in_memory": True}) for plan in own)
    monkeypatch.setattr(_plan, "once", lambda make: main)
    assert agree(own) == tuple(plan.model_copy(update={"device": "cpu"}) for plan in main)
    monkeypatch.undo()
    assert agree(own) == own  # alone


def test_other_images_than_the_main_process_s_are_refused(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = plans_of(photographs)
    shutil.copytree(photographs, tmp_path / "fewer")
    next((tmp_path / "fewer" / "across").iterdir()).unlink()
    others = [main[0].fingerprint]
    monkeypatch.setattr(_plan, "said_by_all", lambda value: [*others, value])
    assert agree(main) == main
    with pytest.raises(TrainingError, match=r"different training images in .*fewer"):
        agree(plans_of(tmp_path / "fewer"))
