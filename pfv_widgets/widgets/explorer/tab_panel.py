"""The tabs beside the pictures of an explorer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as w

from pfv_widgets.widgets.toolkit.protocols import Explorer, Tab


class TabPanel:
    """Makes the tabs of an explorer, and tells each what to show and whether it is open.

    Parameters
    ----------
    explorer
        What the tabs belong to.
    makers
        Title → what makes the tab, called with the explorer.
    knobs
        Title → controls that stand above what the tab shows itself.
    """

    def __init__(
        self,
        explorer: Explorer[Any],
        makers: Mapping[str, Callable[[Any], Tab]],
        knobs: Mapping[str, Sequence[w.Widget]] | None = None,
    ) -> None:
        self._explorer = explorer
        self._on_open: list[Callable[[], None]] = []
        self.tabs = {title: make(explorer) for title, make in makers.items()}
        boxes = [
            w.VBox([*(knobs or {}).get(title, ()), tab.widget]) for title, tab in self.tabs.items()
        ]
        self.widget = w.Tab(boxes, titles=list(self.tabs), selected_index=0)
        self.widget.layout.margin = "6px 0 0 0"
        self.widget.observe(lambda _: self._opened(), "selected_index")
        self._opened()

    def __getitem__(self, title: str) -> Any:
        return self.tabs[title]

    @property
    def title(self) -> str:
        """Title of the tab that is open; empty where none is."""
        index = self.widget.selected_index
        return "" if index is None else list(self.tabs)[index]

    def on_open(self, callback: Callable[[], None]) -> None:
        """Call back when another tab is open, and knows that it is visible."""
        self._on_open.append(self._explorer.safely(callback))

    def open(self, title: str) -> None:
        """Open a tab."""
        self.widget.selected_index = list(self.tabs).index(title)

    def show(self, settings: Any) -> None:
        """Let every tab follow the settings; one that fails stops no other."""
        for tab in self.tabs.values():
            self._explorer.safely(tab.show)(settings)

    def close(self) -> None:
        """Close every tab."""
        for tab in self.tabs.values():
            tab.close()

    def _opened(self) -> None:
        for title, tab in self.tabs.items():
            self._explorer.safely(setattr)(tab, "visible", title == self.title)
        for callback in self._on_open:
            callback()
