"""A section that can be folded away: a button, which takes the focus, over what it hides."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as w


class Fold:
    """A title that shows and hides what is below it."""

    def __init__(self, title: str, content: Sequence[w.Widget], *, unfolded: bool = False) -> None:
        self._title = title
        self.button = w.ToggleButton(
            value=unfolded,
            description=title,
            layout=w.Layout(width="100%", margin="2px 0"),
        )
        self.button.add_class("pfv-fold")
        self._box = w.VBox(list(content), layout=w.Layout(margin="0", overflow="visible"))
        self.widget = w.VBox([self.button, self._box], layout=w.Layout(overflow="visible"))
        self.button.observe(lambda _: self._show(), "value")
        self._show()

    @property
    def unfolded(self) -> bool:
        """Whether the content is shown."""
        return bool(self.button.value)

    @unfolded.setter
    def unfolded(self, unfolded: bool) -> None:
        self.button.value = unfolded

    def _show(self) -> None:
        self.button.tooltip = f"{'Hide' if self.unfolded else 'Show'}: {self._title.lower()}"
        self._box.layout.display = None if self.unfolded else "none"
