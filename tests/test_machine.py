from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from neocog._machine import available_cores


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not tell")
def test_the_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_cores() == len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5})
    assert available_cores() == 3


def test_cores_are_counted_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert available_cores() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


PROGRAM = """
from neocog.cli import main
main(["--version"])
import torch
kept = torch.ones(1 << 26)
text = open("/proc/self/smaps_rollup").read()
print([line.split()[1] for line in text.splitlines() if line.startswith("AnonHugePages")][0])
"""


def huge_pages_are_granted_on_request() -> bool:
    try:
        return "[madvise]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not huge_pages_are_granted_on_request(), reason="the system grants huge pages to nobody, or to all")
def test_the_command_line_asks_for_huge_pages_unless_the_environment_says_no() -> None:
    kilobytes = {}
    for wanted in ("", "0"):
        environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
        if wanted:
            environment["THP_MEM_ALLOC_ENABLE"] = wanted
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
        )
        kilobytes[wanted] = int(done.stdout.splitlines()[-1])
    assert kilobytes[""] > 16 * 1024  # of the tensor's 256 MB; a busy system may have fewer to give
    assert kilobytes["0"] * 4 < kilobytes[""]
