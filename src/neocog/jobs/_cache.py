"""Whether a run keeps its photographs decoded on disk, and the cache that it then reads."""

from __future__ import annotations

from neocog.data.cache import PhotoCache, cache_side, open_cache, plan_cache
from neocog.data.preprocess import Preprocessing
from neocog.data.table import Split
from neocog.jobs.listener import Listener


def choose_cache(wanted: bool | str, photographs: Split, largest: Preprocessing) -> int | None:
    """Return the shorter side at which the cache of `photographs` keeps them; None where there shall be none.

    Args:
        wanted: the recipe's `cache`; "auto" has one where it takes less than a tenth of the free disk.
        photographs: to train on.
        largest: how they are prepared for the largest input of the run.
    """
    side = cache_side(largest)
    if wanted == "auto":
        wanted = plan_cache(photographs, side, channels=largest.channels).modest
    return side if wanted else None


def open_photographs(
    photographs: Split, side: int | None, *, channels: int, workers: int, listener: Listener
) -> PhotoCache | None:
    """Return the cache that a run reads its training images from, complete, and tell its size.

    Several processes may call it at once: one decodes, and the others wait for it.

    Args:
        photographs: to train on.
        side: what `choose_cache` returned.
        channels: 3 for RGB, 1 for grey.
        workers: processes that decode.
        listener: who hears the progress.
    """
    if side is None:
        return None
    begun = False

    def advance(done: int, of: int) -> None:
        nonlocal begun
        if not begun:
            listener.begin("decoding photographs", of)
        begun = True
        listener.advance(done)

    cache = open_cache(photographs, side, channels=channels, workers=workers, progress=advance)
    if begun:
        listener.end()
    if cache is not None:
        listener.notice(str(cache))
    return cache
