"""Whether a run keeps its photographs decoded on disk, and the cache that it then reads."""

from __future__ import annotations

from neocog.data.cache import PhotoCache, cache_root, cache_side, make_folder, open_cache, plan_cache
from neocog.data.preprocess import Preprocessing
from neocog.data.table import Split
from neocog.errors import StorageError
from neocog.jobs.listener import Listener
from neocog.recipes import Recipe


def choose_cache(
    recipe: Recipe, photographs: Split, largest: Preprocessing, listener: Listener | None = None
) -> int | None:
    """Return the shorter side at which the cache of `photographs` keeps them; None where there shall be none.

    Args:
        recipe: its `cache` decides; "auto" has one where it takes less than a tenth of the free disk, in a folder that
            can be written.
        photographs: to train on.
        largest: how they are prepared for the largest input of the run.
        listener: is told where "auto" goes without a cache because of its folder.

    Raises:
        StorageError: there shall be one, and its folder cannot be made.
    """
    if recipe.cache is False:
        return None
    changes = {epoch for field, steps in recipe.vary.items() if field.startswith("augment.") for epoch, _ in steps}
    side = max(cache_side(largest, recipe.at(epoch).augment) for epoch in {0} | changes)
    if recipe.cache is True:
        make_folder(cache_root())
        return side
    try:
        plan = plan_cache(photographs, side, channels=largest.channels)
        if not plan.modest:
            return None
        plan.require_folder()
    except StorageError as error:
        (listener or Listener()).notice(f"photographs are decoded in each epoch anew, without a cache: {error}")
        return None
    return side


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

    Raises:
        DataError: a photograph cannot be decoded; the message names it.
        StorageError: the cache cannot be written; the message names the ways out.
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

    def waiting() -> None:
        listener.notice("another process decodes these photographs; waiting for it")

    cache = open_cache(photographs, side, channels=channels, workers=workers, progress=advance, waiting=waiting)
    if begun:
        listener.end()
    listener.notice(str(cache))
    return cache
