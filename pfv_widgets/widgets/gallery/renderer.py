"""What a gallery asks of whatever renders its pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from pfv_widgets.engine.colouring.similarity import Position
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import OnProgress

CaptureAlong = Callable[[Callable[[], bool]], bool]


class Renderer(Protocol):
    """Renders photos by settings, as :class:`PFV` does."""

    progress: Callable[[int, int], None] | None
    on_progress: OnProgress | None

    @property
    def images(self) -> ImageBatch:
        """The photos."""

    def layer(self, name: str | None = None) -> Layer:
        """Return the layer of that name (None: the default)."""

    def is_ready(self, name: str | None, *, soon: bool = False) -> bool:
        """Whether a layer's feature maps are cached; ``soon``: or come from the pass that runs."""

    def capture(
        self, name: str | None, *, before: str | None = None, on_progress: OnProgress | None = None
    ) -> None:
        """Cache a layer's maps; where another is shown ``before``, also those of layers around."""

    @property
    def capture_along(self) -> CaptureAlong | None:
        """See :meth:`PFV.capture_along`; None: nothing is captured in spare time."""

    def anchor(self, name: str | None = None, *, on_progress: OnProgress | None = None) -> None:
        """Let the colours of a layer refer to all images, before one is shown."""

    def detail(self, layer: str | None, weighting: str) -> int:
        """Width in pixels of the finest map that a picture of the layer is made of."""

    def nearest(
        self, image: int, x: float, y: float, *, number: int = 5, layer: str | None = None
    ) -> tuple[Position, ...]:
        """Find the most similar position in each other image, best first."""

    def render(
        self,
        settings: Settings,
        *,
        size: tuple[int, int] | None = None,
        only: Iterable[int] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Frame:
        """Render all photos, or some of them."""
