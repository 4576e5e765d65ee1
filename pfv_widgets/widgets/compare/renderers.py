"""What the galleries of a comparison render by: one network's picture, and where two differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from torch import Tensor

from pfv_widgets.analysis.compare.alignment import difference
from pfv_widgets.engine.colouring.similarity import Position
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import OnProgress
from pfv_widgets.validation import checked_images
from pfv_widgets.widgets.compare.alignments import Alignment, Alignments, arranged
from pfv_widgets.widgets.compare.difference_frame import difference_frame
from pfv_widgets.widgets.compare.settings import SideSettings, parted, plain_settings


class SideRenderer:
    """Renders any of the networks, as its settings say; layers are named by ``joined``."""

    progress: Callable[[int, int], None] | None = None
    on_progress: OnProgress | None = None
    capture_along = None  # many networks share the memory

    def __init__(self, alignments: Alignments) -> None:
        self.alignments, self.networks = alignments, alignments.networks

    @property
    def images(self) -> ImageBatch:
        """The photos as they came, whatever size a network takes."""
        return self.networks.images

    def layer(self, name: str | None = None) -> Layer:
        """Return a layer of a network."""
        return self.networks.layer(*parted(name))

    def is_ready(self, name: str | None, *, soon: bool = False) -> bool:
        """Whether its feature maps are cached; ``soon``: or come from the pass that runs."""
        network, layer = parted(name)
        return self.networks.pfv(network).is_ready(layer, soon=soon)

    def capture(
        self, name: str | None, *, before: str | None = None, on_progress: OnProgress | None = None
    ) -> None:
        """See :meth:`PFV.capture`."""
        network, layer = parted(name)
        other, earlier = (None, None) if before is None else parted(before)
        if other != network:
            earlier = None
        self.networks.pfv(network).capture(layer, before=earlier, on_progress=on_progress)

    def anchor(self, name: str | None = None, *, on_progress: OnProgress | None = None) -> None:
        """See :meth:`PFV.anchor`."""
        network, layer = parted(name)
        self.networks.pfv(network).anchor(layer, on_progress=on_progress)

    def detail(self, layer: str | None, weighting: str) -> int:
        """See :meth:`PFV.detail`."""
        network, own = parted(layer)
        return self.networks.pfv(network).detail(own, weighting)

    def nearest(
        self, image: int, x: float, y: float, *, number: int = 5, layer: str | None = None
    ) -> tuple[Position, ...]:
        """See :meth:`PFV.nearest`."""
        network, own = parted(layer)
        return self.networks.pfv(network).nearest(image, x, y, number=number, layer=own)

    def render(
        self,
        settings: Settings,
        *,
        size: tuple[int, int] | None = None,
        only: Iterable[int] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Frame:
        """Render one network, in the colours of the reference where the settings name one."""
        assert isinstance(settings, SideSettings)  # an explorer of networks asks
        size = size or self.images.size
        chosen = checked_images(only, len(self.images))
        own, arrangement, notes = arranged(
            self.alignments, settings, settings.reference, on_progress
        )
        frame, _ = own.pfv.render_with(
            own.pfv.colours, plain_settings(settings), size=size, only=chosen,
            on_progress=on_progress, arrangement=arrangement,
        )  # fmt: skip
        pixels = self.images.pixels if chosen is None else self.images.pixels[list(chosen)]
        return replace(frame, pixels=pixels, warnings=frame.warnings + notes)


class DifferenceRenderer(SideRenderer):
    """Renders where two networks differ; ``layer`` is the second's, ``reference`` the first's."""

    def render(
        self,
        settings: Settings,
        *,
        size: tuple[int, int] | None = None,
        only: Iterable[int] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Frame:
        """Render the distance of the scores after alignment; grey where it is undefined."""
        assert isinstance(settings, SideSettings)
        alignment = self.alignments.alignment(
            settings.layer, settings.reference, settings, on_progress
        )
        return difference_frame(
            differences(alignment),
            alignment.source.basis.arranged(alignment.arrangement),
            self.images,
            plain_settings(settings),
            size=size,
            chosen=checked_images(only, len(self.images)),
        )


def differences(alignment: Alignment) -> Tensor:
    """Distance of the scores of two networks after alignment, ``(N, h, w)``: see ``difference``."""
    source, target = alignment.source, alignment.target
    plain = tuple(range(1, len(source.arrangement) + 1))
    return difference(source.scores(plain), target.scores(), alignment.rotation)
