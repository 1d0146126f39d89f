from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from neocog.train.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else None
for _ in range(30):  # the heap takes some allocations to reach the size that it then keeps
    torch.ones(16 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(16 << 20)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs glibc")
def test_memory_that_is_kept_is_not_faulted_in_again() -> None:
    faults = {}
    for how in ("keep", "default"):
        done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
        kept, faults[how] = done.stdout.split()
        assert kept == ("True" if how == "keep" else "None")
    assert int(faults["keep"]) * 10 < int(faults["default"])
