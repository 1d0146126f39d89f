"""Where trained weights are: in a local folder, in the hub's cache, or on the hub."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from neocog._hub import SECONDS, hub_address, hub_errors, hub_refusal, in_one_line
from neocog.catalog._entry import Weights
from neocog.catalog._files import describe
from neocog.errors import UnknownNameError, WeightsError

FOLDER_VARIABLE = "NEOCOG_WEIGHTS"
"""Environment variable: a folder of `<model>.<tag>.safetensors` files, looked at before the hub."""


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
    that are on no hub, as the catalog's `file` with its digest), then in the Hugging Face hub's cache.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        tagged = Path(folder, f"{weights.model}.{weights.tag}.safetensors")
        if tagged.is_file():
            return tagged
        named = Path(folder, weights.file)
        if weights.sha256 and named.is_file() and _digest(named, named.stat().st_mtime_ns) == weights.sha256:
            return named
    if weights.hub is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(weights.hub, weights.file)
    return Path(cached) if isinstance(cached, str) else None


def weights_at_hand(name: str, tag: str = "default", *, timeout: float = SECONDS) -> bool:
    """Say whether the weights of `name` called `tag` are on this machine, or the hub answers within `timeout` seconds.

    False where no weights of `name` are known.
    """
    if not describe(name).weights:
        return False
    weights = find_weights(name, tag)
    if local_file(weights) or weights.hub is None:
        return local_file(weights) is not None
    return _refusal(weights.hub, weights.file, timeout) is None


def fetch_weights(weights: Weights) -> Path:
    """Return a file of `weights`, downloaded to the hub's cache if it is nowhere on this machine.

    Raises:
        WeightsError: they are on no hub and not here, or the hub cannot be reached or does not have them.
    """
    here = local_file(weights)
    if here:
        return here
    if weights.hub is None:
        raise WeightsError(
            f"the weights {weights.tag!r} of {weights.model} are on no hub; "
            f"set {FOLDER_VARIABLE} to the folder that holds {weights.file}"
        )
    refusal = _refusal(weights.hub, weights.file)
    if refusal is None:
        from huggingface_hub import hf_hub_download

        expected = hub_errors()
        try:
            return Path(hf_hub_download(weights.hub, weights.file, endpoint=hub_address()))
        except expected as error:
            refusal = in_one_line(error)
    raise WeightsError(
        f"cannot fetch {weights.hub}/{weights.file}: {refusal}; connect and try again, or put the file into a folder "
        f"as {weights.model}.{weights.tag}.safetensors and set {FOLDER_VARIABLE} to that folder"
    )


def _refusal(hub: str, file: str, timeout: float = SECONDS) -> str | None:
    """Ask the hub for the file's headers, and return why it cannot be had; None if it can."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(hub, file, endpoint=hub_address())
    return hub_refusal(lambda: get_hf_file_metadata(url, timeout=timeout), timeout)


@lru_cache(maxsize=16)
def _digest(path: Path, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
