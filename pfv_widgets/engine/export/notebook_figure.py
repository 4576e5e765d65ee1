"""Figures that every notebook shows as pictures."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

_SHARP = 2  # pixels of the picture in one of the page, for screens of high resolution


class NotebookFigure(Figure):
    """A figure that a notebook shows as a picture, also without ``%matplotlib inline``."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the picture and its size in pixels of the page, as IPython asks for it."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=_SHARP * self.dpi)
        width, height = (self.get_size_inches() * self.dpi).round().astype(int).tolist()
        return file.getvalue(), {"width": width, "height": height}
