"""Choose a method by name and give it the images, chunk by chunk."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.network.capture import modules_by_name
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.list_layers import mixes_images
from pfv_widgets.engine.network.model_guard import guarded
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.methods.attribution.registry import METHODS
from pfv_widgets.methods.core.extra_inputs import NetworkWithInputs
from pfv_widgets.methods.core.method import Cancelled, Method, Progress, Result
from pfv_widgets.methods.core.target import Target, check_differentiable
from pfv_widgets.parameters import suggestion

_WITHOUT_GRADIENT = next(name for name, kind in METHODS.items() if not kind.needs_gradient)


def method_of(method: str | Method, options: Mapping[str, Any]) -> tuple[str, Method]:
    """Return the name and the instance of a method with its options."""
    if not isinstance(method, str):
        names = [name for name, kind in METHODS.items() if type(method) is kind]
        if not names:
            legal = f"expected one of {', '.join(map(repr, METHODS))}, or an instance of one"
            raise PFVTypeError(f"method={method!r:.80}: {legal}.")
        if options:
            instead = f"dataclasses.replace(method, {next(iter(options))}=...)"
            raise PFVTypeError(f"method={method!r:.80} has its options: use {instead}.")
        return names[0], method
    if method not in METHODS:
        raise PFVValueError(f"method={method!r} is unknown. {suggestion(method, METHODS)}")
    legal_options = list(inspect.signature(METHODS[method]).parameters)
    for option in options:
        if option not in legal_options:
            has = suggestion(option, legal_options) if legal_options else "It has no options."
            raise PFVTypeError(
                f"{option}={options[option]!r:.60}: {method} has no such option. {has}"
            )
    return method, METHODS[method](**options)


def check_gradient_of(network: nn.Module, method: Method) -> None:
    """Raise a PFVValueError where the method needs a gradient that the network cannot have."""
    if method.needs_gradient:
        check_differentiable(
            network, f", or pass a method without gradients, such as method={_WITHOUT_GRADIENT!r}"
        )


def in_chunks(
    forward: Forward,
    images: ImageBatch,
    method: Method,
    target: Target,
    *,
    size: int,
    progress: Progress | None,
    cancelled: Cancelled | None,
) -> list[Result]:
    """Give the images to the method, ``size`` at a time at most; results are on the CPU.

    Every way to a map leads through here, so that options mean the same on all of them. ``forward``
    has the tensors that are explained; a method with ``for_images`` gets the batch that they belong
    to.
    """
    adapt = getattr(method, "for_images", None)
    method = method if adapt is None else adapt(images)
    size = min(size, getattr(method, "batch_size", size))  # what all passes have to hold
    count = len(forward.images)
    target.check_count(count)
    starts = range(0, count, size)

    def report(chunk: int, done: int, total: int) -> None:
        assert progress is not None
        progress(chunk * total + done, len(starts) * total)

    results = []
    with guarded(forward.model) as network:
        if isinstance(network, NetworkWithInputs):
            network.probe_rows(forward.batch(0, 1))
        for chunk, start in enumerate(starts):
            if isinstance(network, NetworkWithInputs):
                network.rows = (start,)
            batch = forward.batch(start, start + size)
            batch = batch.clone() if batch.is_inference() else batch
            tell = partial(report, chunk) if progress is not None else None
            own = target.of(range(start, start + len(batch)))
            signed, measured, warnings = method.attribute(network, batch, own, tell, cancelled)
            results.append((signed.detach().float().cpu(), measured, warnings))
        signed, measured, warnings = results[0]
        if min(size, count) > 1:
            results[0] = (signed, measured, (*warnings, *_mixing(network)))
    return results


def _mixing(network: nn.Module) -> tuple[str, ...]:
    """Say which part of a network that just ran mixes the images that run together."""
    modules = modules_by_name(network).items()
    mixing = next((name for name, one in modules if mixes_images(one)), None)
    if mixing is None:
        return ()
    text = (
        f"{mixing} normalises by all images that run together, so that scores and maps of an image "
        "depend on those beside it, and on chunk_size. With chunk_size=1 each runs alone."
    )
    return (text,)
