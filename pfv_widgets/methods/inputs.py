"""Networks that take more than the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from pfv_widgets.errors import PFVTypeError, PFVValueError


class Fed(nn.Module):
    """A network with its other inputs: it is called with images alone, all made of one photo.

    Its modules keep the names that they have in the network.

    Attributes
    ----------
    image
        Which photo the batches are made of; its row of the other inputs is repeated for them.
    """

    def __init__(
        self, network: nn.Module, count: int, inputs: Mapping[str, Any], argument: str | None
    ) -> None:
        super().__init__()
        self.network = network
        self.count = count
        self.inputs = dict(inputs)
        self.argument = argument
        self.image = 0

    def forward(self, images: Tensor) -> object:
        """Run the network on images ``(N, 3, H, W)``."""
        others = {name: self._of_image(value, images) for name, value in self.inputs.items()}
        if self.argument is None:
            return self.network(images, **others)
        return self.network(**{self.argument: images}, **others)

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Name the network's own modules, as they are called there."""
        yield from self.network.named_modules(memo, prefix, remove_duplicate)

    def _of_image(self, value: object, images: Tensor) -> object:
        if not isinstance(value, Tensor):
            return value
        value = value.detach().to(images.device)
        if value.ndim == 0 or len(value) != self.count:
            return value
        row = value[self.image : self.image + 1]
        return row.expand(len(images), *row.shape[1:]).clone()


def fed(
    network: nn.Module, count: int, inputs: Mapping[str, Any] | None, argument: str | None
) -> nn.Module:
    """Return the network, bound to its other inputs where there are any.

    Raises
    ------
    PFVTypeError, PFVValueError
        For inputs that are no mapping, or one that stands for the images as well.
    """
    if not isinstance(argument, str | None):
        raise PFVTypeError(f"argument={argument!r:.60}: expected the name of an input, or None.")
    if inputs is not None and not isinstance(inputs, Mapping):
        raise PFVTypeError(
            f"inputs={inputs!r:.60}: expected the other inputs by name, as {{'mask': mask}}."
        )
    if argument is not None and argument in (inputs or {}):
        raise PFVValueError(f"inputs has {argument!r}, which takes the images. Leave it out.")
    if not inputs and argument is None:
        return network
    return Fed(network, count, inputs or {}, argument)
