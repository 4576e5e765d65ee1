"""A network by name: torchvision's, one from a file of the user's, or the embedded one."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from pfv_widgets.engine.network.state_dict import load_weights
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.parameters import suggestion

ALIASES = {
    "demo": "pfv_widgets.demo:demo_model",
    "demo-photos": "pfv_widgets.demo.imagenet_network:load_network",
}
SEED = 0


def load_model(name: str, weights: str | Path | None = None) -> nn.Module:
    """Build a network, fill it with weights, and return it in eval mode, on the CPU.

    Parameters
    ----------
    name
        A model of torchvision such as ``"resnet18"``; ``"file.py:factory"`` or
        ``"package.module:factory"``, whose factory takes no argument and returns the network;
        or ``"demo"`` and ``"demo-photos"``, the networks of the demo. A file is run: name only
        those that you trust.
    weights
        ``"default"`` or None: torchvision's own weights, downloaded once, with the names of their
        classes as ``classes``, or what the factory made. ``"random"``: initialised anew from a
        fixed seed; a factory's network is taken as it comes, from the same seed; the demo's have
        their trained weights alone. A path: a state dict of ``torch.save`` or ``.safetensors``.
    """
    if not isinstance(name, str):
        raise PFVTypeError(f"name={name!r}: expected a model's name or 'file.py:factory'.")
    if weights is not None and not isinstance(weights, str | Path):
        raise PFVTypeError(f"weights={weights!r}: expected 'default', 'random' or a path.")
    if name in ALIASES and weights == "random":
        raise PFVValueError(
            f"weights='random': the network {name!r} comes with its trained weights alone. Name a "
            "network of torchvision, or leave weights out."
        )
    is_path = weights not in (None, "default", "random")
    if is_path and not Path(weights or "").expanduser().exists():
        raise PFVValueError(
            f"weights={str(weights)!r}: there is no such file; give 'default', 'random' or the "
            "path of a state dict that torch.save wrote."
        )
    spec = ALIASES.get(name, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = _from_factory(spec) if ":" in spec else _of_torchvision(spec, weights)
    if is_path:
        assert weights is not None
        load_weights(model, weights)
    return model.eval()


def _of_torchvision(name: str, weights: str | Path | None) -> nn.Module:
    from torchvision import models

    known = models.list_models()
    if name not in known:
        also = "or give 'file.py:factory' for a network of your own"
        raise PFVValueError(f"name={name!r} is unknown. {suggestion(name, known)[:-1]}; {also}.")
    if weights in (None, "default"):
        return _with_default_weights(name)
    builder = models.get_model_builder(name)
    takes = inspect.signature(builder).parameters
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in takes:
        options["weights_backbone"] = None  # else torchvision downloads the backbone's
    if "init_weights" in takes:
        options["init_weights"] = weights == "random"
    return _network(builder(**options), name)


def _with_default_weights(name: str) -> nn.Module:
    from torchvision import models

    instead = "give weights='random', or the path of a state dict that you have"
    try:
        model = _network(models.get_model(name, weights="DEFAULT"), name)
    except (OSError, RuntimeError) as error:  # no network, or a download that was cut off
        raise PFVValueError(
            f"weights='default': the weights of {name!r} could not be downloaded ({error}); "
            f"check the connection, or {instead}."
        ) from error
    except (KeyError, ValueError, AttributeError) as error:
        raise PFVValueError(
            f"weights='default': torchvision has none for {name!r}; {instead}."
        ) from error
    if (names := models.get_model_weights(name)["DEFAULT"].meta.get("categories")) is not None:
        vars(model)["classes"] = list(names)  # no tensor or module, which its type asks for
    return model


def _from_factory(spec: str) -> nn.Module:
    origin, _, attribute = spec.rpartition(":")
    module = _module_of_file(origin, spec) if origin.endswith(".py") else _module(origin, spec)
    factory: Callable[[], Any] | None = getattr(module, attribute, None)
    if factory is None:
        public = [key for key in vars(module) if not key.startswith("_")]
        raise PFVValueError(
            f"name={spec!r}: {origin} has no {attribute!r}. {suggestion(attribute, public)}"
        )
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        kind = type(factory).__name__
        raise PFVTypeError(f"name={spec!r}: {attribute} is a {kind}; expected a function.")
    try:
        model = factory()
    except PFVError:
        raise
    except Exception as error:  # the user's code may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise PFVValueError(f"name={spec!r}: {attribute}() failed with {reason}.") from error
    return _network(model, spec)


def _module_of_file(origin: str, spec: str) -> ModuleType:
    path = Path(origin).expanduser()
    if not path.is_file():
        raise PFVValueError(f"name={spec!r}: there is no file {str(path.absolute())!r}.")
    # a name of its own: a user's `torch.py` must not shadow torch
    unique = f"_pfv_model_{path.stem}"
    module_spec = importlib.util.spec_from_file_location(unique, path)
    assert module_spec is not None and module_spec.loader is not None  # noqa: PT018 - a `.py` file has both
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[unique] = module  # dataclasses and pickle look their module up there
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        del sys.modules[unique]
        reason = f"{type(error).__name__}: {error}"
        raise PFVValueError(f"name={spec!r}: importing the file failed with {reason}.") from error
    return module


def _module(origin: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(origin)
    except Exception as error:  # the user's code may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise PFVValueError(
            f"name={spec!r}: {origin!r} cannot be imported ({reason}); expected 'file.py:factory' "
            "or 'package.module:factory'."
        ) from error


def _network(model: object, name: str) -> nn.Module:
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise PFVTypeError(f"name={name!r} gave a {kind}: expected a torch.nn.Module.")
    return model
