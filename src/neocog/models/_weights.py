"""Reading weights from files, and putting them into a network, strictly."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import is_zipfile

import torch
from torch import Tensor, nn

from neocog.catalog import Weights
from neocog.errors import WeightsError
from neocog.layers.fold import is_identity_norm
from neocog.models._classifier import Classifier
from neocog.models._convert import Library, listed, recognise, unwrapped, with_our_names
from neocog.models._family import Family

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
DAMAGES = (RuntimeError, EOFError, OSError, ValueError, LookupError, AssertionError, TypeError, struct.error)
"""What torch raises at bytes of a `.pth` that are not what they were."""
_WHERE_CHECKPOINTS_KEEP_WEIGHTS = ("state_dict", "model", "model_state_dict")


@dataclass(frozen=True)
class LoadReport:
    """What became of a weights file.

    Attributes:
        path: the file.
        library: whose parameter names it has.
        tensors: how many were taken from it.
        remade: what was adapted or made anew, and why, one sentence each.
        identity_norms: batch norms that only add a bias, as folding and int8 conversion leave them; all the network's
            or none, as a rule. Statistics of a batch would change what such a network computes: fine-tune it
            with those layers in `eval` mode, or after `neocog.layers.fold.unfold_batch_norms`.
        weights: the catalog's entry, where the file came from there.
    """

    path: Path
    library: Library
    tensors: int
    remade: tuple[str, ...] = ()
    identity_norms: int = 0
    weights: Weights | None = None

    def __str__(self) -> str:
        """One line for a person."""
        said = [f"{self.tensors} tensors with {self.library}'s names from {self.path}", *self.remade]
        if self.identity_norms:
            said.append(f"{self.identity_norms} batch norms only add a bias")
        return "; ".join(said)


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a `.safetensors` file, or of a `.pth` that holds tensors only, on the CPU.

    The file is mapped into memory, so that only what is used is read, and once.

    Raises:
        WeightsError: no such file, a damaged one, or one with anything but tensors in it.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no weights file {path}")
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"{path} is no weights file; their names end in {', '.join(SUFFIXES)}")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if not state:
        raise WeightsError(f"{path} holds no tensors")
    return unwrapped(state)


def load_network(
    family: Family,
    path: Path,
    *,
    edits: Mapping[str, object],
    num_classes: int | None = None,
    in_chans: int | None = None,
    weights: Weights | None = None,
) -> Classifier:
    """Return a network of `family` with the weights in `path`, which must be all there and all fit.

    Four differences are bridged, and reported in the network's `loaded`: the names of timm and torchvision, a head
    with another number of classes (made anew), a stem with another number of channels (summed to one, or repeated and
    rescaled so that equal channels give the same result), and auxiliary heads, which are left out where the network has
    none and made anew where the file has none.

    Args:
        family: which variant.
        path: the file.
        edits: fields of the config that differ from the published ones.
        num_classes: logits of the network; None for as many as the file has.
        in_chans: channels of its images; None for as many as the file has.
        weights: what the catalog says about the file.

    Raises:
        WeightsError: the file is damaged or of another network; the message says what is missing, unexpected or of
            another shape.
    """
    state = read_state(path)
    config = family.edited(edits)
    network = family.build_uninitialised(config)
    library = recognise(state, family, config, set(network.state_dict()))
    state = with_our_names(state, family, config, library)

    in_file = {"num_classes": _classes(state, network), "in_chans": _channels(state, network)}
    channels = in_file["in_chans"] if in_chans is None else in_chans
    wanted = replace(config, num_classes=in_file["num_classes"], in_chans=channels)
    if wanted != config:
        network = family.build_uninitialised(wanted)
    taken = len(state.keys() & network.state_dict().keys())
    remade = _bridge_auxiliary_heads(state, network, family)
    if wanted.in_chans != in_file["in_chans"]:
        remade.append(f"the stem's {in_file['in_chans']} channels were adapted to {wanted.in_chans}")
        stem = f"{network.stem_name}.weight"
        state[stem] = _adapted(state[stem], wanted.in_chans)
    _assign(network, state, path)
    if num_classes not in (None, wanted.num_classes):
        remade.append(f"the head of {wanted.num_classes} classes was replaced by a new one of {num_classes}")
        network.reset_classifier(num_classes)
    network.loaded = LoadReport(path, library, taken, tuple(remade), _identity_norms(network), weights)
    return network


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors ({error}); fetch or write it again") from None
    return state


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """Read a `.pth` without unpickling anything but tensors and plain containers."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path} cannot be read: it is damaged, or holds more than tensors, which neocog does not unpickle"
        ) from None
    except DAMAGES as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{path} cannot be read ({reason}); fetch or write it again") from None
    while isinstance(content, Mapping) and not all(isinstance(value, Tensor) for value in content.values()):
        inner = next((content[key] for key in _WHERE_CHECKPOINTS_KEEP_WEIGHTS if key in content), None)
        if inner is None:
            raise WeightsError(f"{path} holds more than a state_dict: {listed(map(str, content))}")
        content = inner
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a state_dict")
    return dict(content)


def _classes(state: Mapping[str, Tensor], network: Classifier) -> int:
    """Return how many logits the head in `state` gives; 0 where there is none."""
    head = (value for key, value in state.items() if key.startswith(f"{network.head_name}."))
    return next((value.shape[0] for value in head), 0)


def _channels(state: Mapping[str, Tensor], network: Classifier) -> int:
    """Return how many channels the stem in `state` takes; the network's own where it has none."""
    stem = state.get(f"{network.stem_name}.weight")
    return network.config.in_chans if stem is None else stem.shape[1]


def _bridge_auxiliary_heads(state: dict[str, Tensor], network: Classifier, family: Family) -> list[str]:
    """Make `state` have the auxiliary heads that `network` has; return what was done, in one sentence or none."""
    names = tuple(network.auxiliary_names.values())
    in_file = [key for key in state if key.partition(".")[0] in names]
    if in_file and not network.auxiliary_heads:
        for key in in_file:
            del state[key]
        return [f"the file's auxiliary heads ({', '.join(names)}) were left out"]
    if network.auxiliary_heads and not in_file:
        fresh = family.build(network.config)
        fresh.init_weights()
        state |= {key: value for key, value in fresh.state_dict().items() if key.partition(".")[0] in names}
        return [f"the auxiliary heads ({', '.join(names)}), which the file lacks, were made anew"]
    return []


def _adapted(stem: Tensor, channels: int) -> Tensor:
    """Return a stem's filters `(C_out, C_in, h, w)` for another number of input channels.

    Either way an image whose channels are all equal gives what it gave before.
    """
    if channels == 1:
        return stem.sum(dim=1, keepdim=True)
    copies = -(-channels // stem.shape[1])
    return stem.repeat(1, copies, 1, 1)[:, :channels] * (stem.shape[1] / channels)


def _assign(network: Classifier, state: dict[str, Tensor], path: Path) -> None:
    """Make the tensors of `state` those of the network, of the network's own type and on its device."""
    own = network.state_dict()
    for name in own.keys() - state.keys():
        if name.endswith("num_batches_tracked"):  # older files lack this counter, which only momentum=None uses
            state[name] = torch.zeros_like(own[name])
    faults = {
        "missing": [name for name in own if name not in state],
        "unexpected": [name for name in state if name not in own],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ],
    }
    if any(faults.values()):
        said = "; ".join(f"{len(names)} {fault} ({listed(names)})" for fault, names in faults.items() if names)
        raise WeightsError(f"{path} does not fit {network.name}: {said}")
    network.load_state_dict({name: state[name].to(own[name]) for name in own}, assign=True)


def _identity_norms(network: Classifier) -> int:
    """Count batch norms that, with their running statistics, do nothing but add their bias."""
    return sum(isinstance(module, nn.BatchNorm2d) and is_identity_norm(module) for module in network.modules())
