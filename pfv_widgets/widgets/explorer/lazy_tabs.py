"""The tabs beside the pictures of an explorer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as w

from pfv_widgets.widgets.toolkit.protocols import Explorer, Tab


class LazyTabs:
    """Makes each tab of an explorer when it is first opened, and tells it what to show.

    Some have a hundred widgets, which a page would have to draw before the first picture. By the
    title of a tab ``makers`` has what makes it, and ``knobs`` the controls that stand above it.
    """

    def __init__(
        self,
        explorer: Explorer[Any],
        makers: Mapping[str, Callable[[Any], Tab]],
        knobs: Mapping[str, Sequence[w.Widget]] | None = None,
    ) -> None:
        self._explorer, self._makers = explorer, dict(makers)
        self._making = threading.RLock()  # a tab may be opened and asked for at once
        self._tabs: dict[str, Tab] = {}
        self._settings: Any = None
        self._is_closed = False
        self._on_open: list[Callable[[], None]] = []
        self._boxes = {title: w.VBox((knobs or {}).get(title, ())) for title in makers}
        self.widget = w.Tab(list(self._boxes.values()), titles=list(self._boxes), selected_index=0)
        self.widget.layout.margin = "6px 0 0 0"
        self[self.title]  # what fails here is an error of whoever opens the explorer
        self.widget.observe(lambda _: self._opened(), "selected_index")
        self._opened()

    def __getitem__(self, title: str) -> Any:
        with self._making:
            if title not in self._tabs:
                self._tabs[title] = tab = self._makers[title](self._explorer)
                if self._settings is not None:
                    self._explorer.safely(tab.show)(self._settings)
                if self._is_closed:
                    tab.close()
                else:
                    box = self._boxes[title]
                    box.children = [*box.children, tab.widget]
            return self._tabs[title]

    @property
    def title(self) -> str:
        """Title of the tab that is open; empty where none is."""
        index = self.widget.selected_index
        return "" if index is None else list(self._boxes)[index]

    def on_open(self, callback: Callable[[], None]) -> None:
        """Call back when another tab is open, and knows that it is visible."""
        self._on_open.append(self._explorer.safely(callback))

    def open(self, title: str) -> None:
        """Open a tab."""
        self.widget.selected_index = list(self._boxes).index(title)

    def show(self, settings: Any) -> None:
        """Let every tab follow the settings; one that fails stops no other."""
        with self._making:
            self._settings, tabs = settings, list(self._tabs.values())
        for tab in tabs:
            self._explorer.safely(tab.show)(settings)

    def close(self) -> None:
        """Close every tab."""
        with self._making:
            self._is_closed = True
            for tab in self._tabs.values():
                tab.close()

    def _opened(self) -> None:
        if self.title:
            self._explorer.safely(self.__getitem__)(self.title)
        for title, tab in list(self._tabs.items()):
            self._explorer.safely(setattr)(tab, "visible", title == self.title)
        for callback in self._on_open:
            callback()
