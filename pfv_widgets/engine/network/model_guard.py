"""The user's model is checked, run without gradients, and left exactly as it is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import chain
from os import PathLike

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pfv_widgets.engine.computing_modes import (
    callers_device,
    networks_device,
    own_modes,
    without_cudnn,
)
from pfv_widgets.engine.network.capture import named_parameters, without_compile
from pfv_widgets.engine.network.devices import copied_to
from pfv_widgets.engine.network.fair_lock import FairLock
from pfv_widgets.engine.network.fingerprint import modules_of
from pfv_widgets.engine.network.module_states import ModuleStates
from pfv_widgets.engine.network.replica import CannotReplicateError, is_replica, replicate
from pfv_widgets.engine.progress import Cancelled
from pfv_widgets.errors import (
    GREY,
    PFVError,
    PFVTypeError,
    PFVValueError,
    first_line,
    is_out_of_memory,
)

# what PyTorch says where tensors of two devices meet, and of work that a device does not do
_ELSEWHERE = re.compile(
    r"same device|expected device|type \(torch\.[A-Z]\w*\).* should be the same|1D CPU int64"
    r"|allocated on MPS|device type for generator|(CUDA|MPS)' backend|convert (cuda|mps)"
)
_WRAPPERS = ("module", "_orig_mod")
# one network, or two that share parts, may be used by several threads
LOCK, _GUARDED = FairLock(), ModuleStates()


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside ``DataParallel`` and ``torch.compile`` wrappers.

    Raises
    ------
    PFVTypeError
        For anything but an eager ``nn.Module``: hooks do not run inside a traced or
        scripted network.
    PFVValueError
        For parameters on the meta device or not initialised yet, which hold no numbers.
    """
    while isinstance(model, nn.Module) and _is_wrapper(model):
        model = next(getattr(model, name) for name in _WRAPPERS if hasattr(model, name))
    if isinstance(model, torch.jit.ScriptModule):
        raise PFVTypeError(
            f"model={type(model).__name__}: a traced or scripted network ignores hooks inside it, "
            "so its feature maps cannot be read. Pass the eager nn.Module that it was made from."
        )
    if not isinstance(model, nn.Module):
        raise PFVTypeError(
            f"model={model!r:.60}: expected a torch.nn.Module, got {type(model).__name__}."
            f"{_instead_of(model)}"
        )
    for name, parameter in named_parameters(model):
        if is_lazy(parameter):
            raise PFVValueError(
                f"model: parameter {name!r} is not initialised yet. Run the model once on images "
                "of the right size first."
            )
        if parameter.is_meta:
            raise PFVValueError(
                f"model: parameter {name!r} is on the meta device and holds no numbers. "
                "Load the weights first, for example with load_state_dict(..., assign=True)."
            )
    return model


def _instead_of(argument: object) -> str:
    """Say what to do with what is given in place of a network; empty where nothing is known."""
    if isinstance(argument, str | PathLike):
        return " Give the network itself, such as torchvision.models.resnet18(weights='DEFAULT')."
    if isinstance(argument, Mapping):
        return " These are weights: load them into a network with its load_state_dict(...)."
    if callable(argument):
        return " If it makes a network, call it, as resnet18() does."
    return ""


def clean_name(name: str) -> str:
    """Drop the parts that wrappers add to a layer's name.

    >>> clean_name("module._orig_mod.features.3")
    'features.3'
    """
    return without_compile(name).removeprefix("module.")


def floating_dtype(model: nn.Module) -> torch.dtype:
    """Return the dtype of the model's first floating parameter or buffer, else float32."""
    for values in chain(model.parameters(), model.buffers()):
        if values.is_floating_point():
            return values.dtype
    return torch.float32


def isolated(model: nn.Module) -> nn.Module:
    """Return a replica of a model (see :func:`replicate`), or itself where it has none."""
    try:
        return replicate(model)
    except CannotReplicateError:
        return model


def runs_apart(model: nn.Module) -> bool:
    """Whether :func:`guarded` runs a replica, so that the model itself can be used meanwhile."""
    return is_replica(isolated(model))


@contextmanager
def guarded(model: nn.Module) -> Iterator[nn.Module]:
    """Run a model in eval mode without gradients, and leave it as it is.

    What runs is a replica that shares its weights (see :func:`replicate`), so that the model can be
    trained or run in another thread meanwhile. A model that cannot be replicated runs itself: then
    the training flag of every module and every buffer are restored, also after an exception, and
    compiled parts run eagerly meanwhile. One thread at a time; long work calls
    :func:`let_others_run` between its passes.
    """
    with LOCK, own_modes(), networks_device(copied_to(model)):
        network = isolated(model)
        if is_replica(network):
            yield network
            return
        modules = _GUARDED.guard(model)
        try:
            yield model
        finally:
            _GUARDED.restore(modules)


def let_others_run() -> None:
    """Let other threads that wait for a network go first; call it where no hook is registered."""
    LOCK.let_others_run()


@contextmanager
def as_its_owner_runs(model: nn.Module) -> Iterator[None]:
    """Make tensors where the model's owner has them made, and have gradients of all its layers.

    cuDNN has none of recurrent layers in evaluation mode: networks with some run without it then.
    """
    wanted = torch.is_grad_enabled()
    recurrent = wanted and any(isinstance(one, nn.RNNBase) for one in modules_of(model))
    with callers_device(), without_cudnn() if recurrent else nullcontext():
        yield


def run(model: nn.Module, batch: Tensor, *, copy: bool = True, fix: str = "") -> object:
    """Call the model on the images, and say what to do if they do not fit it.

    The network may write into its input: it gets a copy, unless ``copy`` says no. ``fix`` is what
    to do, where it is known.

    Raises
    ------
    PFVValueError
        If the forward pass fails or memory runs out; the original error is the cause. An error
        that this package raised inside passes as it is.
    """
    try:
        with as_its_owner_runs(model):
            return model(batch.clone() if copy else batch)
    except (PFVError, Cancelled):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise PFVValueError(
                f"images: {len(batch)} images at a time do not fit into the memory of "
                f"{batch.device}. Pass a smaller chunk_size, smaller images, or device='cpu'."
            ) from error
        raise PFVValueError(
            f"images: the model failed on a batch of shape {tuple(batch.shape)} "
            f"({type(error).__name__}: {first_line(error):.300}). "
            f"{fix or _fix(model, batch, error)}"
        ) from error


def ran_out_of_memory(error: PFVValueError) -> bool:
    """Whether :func:`run` failed because memory ran out."""
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def _fix(model: nn.Module, batch: Tensor, error: Exception) -> str:
    if batch.device.type != "cpu" and _ELSEWHERE.search(str(error)):
        return (
            f"It ran on {batch.device}, and some of its tensors are elsewhere, or must not be "
            "there. Pass device='cpu', or move the network there yourself and see that it runs."
        )
    first = next((one for one in model.modules() if isinstance(one, nn.Conv2d)), None)
    if first is not None and first.in_channels == 1 and batch.shape[1] == 3:
        return (
            "Its first convolution takes one channel, and images have three. Give a network that "
            f"averages them first: {GREY}."
        )
    if not _takes(model, batch):
        return (
            "It takes more than the images. Wrap it in a module whose forward takes the images "
            "alone; attribute, reconstruct and the explorers take the rest as inputs=..."
        )
    return (
        "Load the images at the size and with the channels that it was made for: "
        "load_images(..., size=...)."
    )


def _takes(model: nn.Module, batch: Tensor) -> bool:
    try:
        inspect.signature(model.forward).bind(batch)
    except TypeError:
        return False
    except ValueError:  # nothing is known of it
        return True
    return True


def _is_wrapper(model: nn.Module) -> bool:
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    return isinstance(model, parallel) or isinstance(getattr(model, "_orig_mod", None), nn.Module)
