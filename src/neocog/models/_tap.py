"""`tap`: the one way to read what is inside a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from neocog.errors import UnknownNameError

_WRAPPERS = ("module", "_orig_mod")
"""Where DDP and `torch.compile` keep the network that they wrap."""


@contextmanager
def tap(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Within the context, keep what the modules called `names` return at each forward pass.

        >>> with tap(network, ["layer1", "layer4"]) as seen:
        ...     logits = network(images)
        >>> seen["layer4"].shape

    A compiled network runs uncompiled within the context, since its compiled code calls no module.

    The tensors are those that the network goes on with, not copies: gradients flow through them. A later forward pass
    replaces them, and they stay after the context ends. A module that is called several times in one pass
    leaves its last output.

    Args:
        model: a network, or one wrapped by DDP or `torch.compile`, whose names are looked up without the wrapper's.
        names: of modules, as `named_modules` gives them, such as a `Classifier`'s `stage_names`.

    Raises:
        UnknownNameError: no module of that name; the message names the near ones.
    """
    network = unwrap(model)
    modules = dict(network.named_modules())
    for name in names:
        if name not in modules or not name:
            raise UnknownNameError("module", name, (known for known in modules if known))
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> None:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            seen[name] = output

        stack.callback(modules[name].register_forward_hook(hook).remove)

    with ExitStack() as stack:
        if any(is_compiled(module) for module in model.modules()):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for name in names:
            keep(name)
        yield seen


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside the wrappers of DDP and `torch.compile`, in whatever order they are."""
    while True:
        inner = next((getattr(model, name) for name in _WRAPPERS if _wraps(model, name)), None)
        if inner is None:
            return model
        model = inner


def _wraps(model: nn.Module, name: str) -> bool:
    """Say whether all that `model` holds is one network under `name`."""
    return list(dict(model.named_children())) == [name]


def is_compiled(module: nn.Module) -> bool:
    """Say whether `torch.compile(module)` made this module, or `module.compile()` changed it."""
    return hasattr(module, "_orig_mod") or module._compiled_call_impl is not None
