"""Where trained weights are: in a local folder, in a cache, on the hub, or at an address of their own."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from neocog._hub import SECONDS, hub_address, hub_errors, hub_refusal, in_one_line
from neocog.catalog._download import checkpoints, digest, digits_in_name, download, url_refusal
from neocog.catalog._entry import Weights
from neocog.catalog._files import describe
from neocog.errors import StorageError, UnknownNameError, WeightsError

FOLDER_VARIABLE = "NEOCOG_WEIGHTS"
"""Environment variable: a folder of `<model>.<tag>.safetensors` files, looked at before anything else."""


def find_weights(name: str, tag: str = "default") -> Weights:
    """Return the weights of `name` that are called `tag`.

    "default" is the catalog's default, unless that one would have to be fetched while another is already on this
    machine; then it is that other.

    Raises:
        UnknownNameError: no such model, or no such tag; the message names the near ones.
        WeightsError: no trained weights of that model are known.
    """
    known = describe(name).weights
    if not known:
        raise WeightsError(f"no trained weights of {name} are known; build it without, or give a file")
    if tag == "default":
        return next((each for each in known if local_file(each)), known[0])
    for each in known:
        if each.tag == tag:
            return each
    tags = ["default", *(each.tag for each in known)]
    raise UnknownNameError(f"weights of {name}", tag, tags, where=f"neocog models {name} --weights")


def local_file(weights: Weights) -> Path | None:
    """Return where `weights` are on this machine, without asking the network; None if nowhere.

    First in the folder that the environment's `NEOCOG_WEIGHTS` names, as `<model>.<tag>.safetensors` (or, for weights
    that are on no hub, as the catalog's `file` with its digest), then in the cache of the Hugging Face hub or, for
    those with an address of their own, of `torch.hub`.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        tagged = Path(folder, f"{weights.model}.{weights.tag}.safetensors")
        if tagged.is_file():
            return tagged
        named = Path(folder, weights.file)
        digits = weights.sha256 or digits_in_name(weights.file)
        if digits and named.is_file() and _digest(named, named.stat().st_mtime_ns).startswith(digits):
            return named
    if weights.url is not None:
        kept = checkpoints() / weights.file
        # Whoever put it there compared the digits in its name; where all are known, all are compared.
        if kept.is_file() and (weights.sha256 is None or _digest(kept, kept.stat().st_mtime_ns) == weights.sha256):
            return kept
        return None
    if weights.hub is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(weights.hub, weights.file)
    return Path(cached) if isinstance(cached, str) else None


def weights_at_hand(name: str, tag: str = "default", *, timeout: float = SECONDS) -> bool:
    """Say whether the weights of `name` called `tag` are on this machine, or whoever has them answers.

    Who takes longer than `timeout` seconds has not answered. False where no weights of `name` are known.
    """
    if not describe(name).weights:
        return False
    weights = find_weights(name, tag)
    return local_file(weights) is not None or _refusal(weights, timeout) is None


def fetch_weights(weights: Weights) -> Path:
    """Return a file of `weights`, downloaded to a cache if it is nowhere on this machine.

    Raises:
        WeightsError: they are nowhere but on somebody's disk, or who has them cannot be reached or refuses.
        StorageError: the cache cannot be written, or its disk is full.
    """
    here = local_file(weights)
    if here:
        return here
    source = weights.url or f"{weights.hub}/{weights.file}"
    refusal = _refusal(weights)
    if refusal is None:
        expected = hub_errors()
        try:
            return _download(weights)
        except StorageError:
            raise
        except expected as error:
            refusal = in_one_line(error)
    if weights.url is None and weights.hub is None:
        raise WeightsError(
            f"the weights {weights.tag!r} of {weights.model} are {refusal}; "
            f"set {FOLDER_VARIABLE} to the folder that holds {weights.file}"
        )
    name = weights.file if weights.url else f"{weights.model}.{weights.tag}.safetensors"
    raise WeightsError(
        f"cannot fetch {source}: {refusal}; connect and try again, or put the file into a folder "
        f"as {name} and set {FOLDER_VARIABLE} to that folder"
    )


def _refusal(weights: Weights, timeout: float = SECONDS) -> str | None:
    """Ask for the file's headers where it lies, and return why it cannot be had; None if it can."""
    if weights.url is not None:
        return url_refusal(weights.url, timeout)
    if weights.hub is None:
        return "on no hub"
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(weights.hub, weights.file, endpoint=hub_address())
    return hub_refusal(lambda: get_hf_file_metadata(url, timeout=timeout), timeout)


def _download(weights: Weights) -> Path:
    if weights.url is not None:
        target = checkpoints() / weights.file
        download(weights.url, target, weights.sha256)
        return target
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(str(weights.hub), weights.file, endpoint=hub_address()))


@lru_cache(maxsize=16)
def _digest(path: Path, modified: int) -> str:
    return digest(path)
