"""The shortcut finder in the tab "Classes": suspects, their evidence, and a way to cut them out."""

from __future__ import annotations

import threading
from collections.abc import Callable

import ipywidgets as w
import torch
from torch import Tensor

from pfv_widgets.analysis.shortcuts import ShortcutReport
from pfv_widgets.analysis.suspects import Suspect
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.errors import named
from pfv_widgets.widgets.classes.evidence_strip import address, heated, strip
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import close_all

Found = tuple[ShortcutReport, ImageBatch]
Answer = Callable[[Found | Exception], None]
_MOST_SUSPECTS, _PHOTOS = 4, 4
_HOW_TO = (
    "Which directions of this layer a class relies on without reason: marks, frames, backgrounds. "
    "Each is tested by what cutting it changes."
)
_CLEAN = "No suspect among what could be tested."


class ShortcutSection:
    """A button that starts the search, and the suspects that it found.

    Parameters
    ----------
    search
        Starts the search in the background; its argument is called with the result or an error.
    changed
        Called after a suspect was cut out, or taken in again.
    """

    def __init__(self, search: Callable[[Answer], None], changed: Callable[[], None]) -> None:
        self._search, self._changed = search, changed
        self._lock = threading.RLock()
        self._suspects: tuple[Suspect, ...] = ()
        self.button = w.Button(
            description="Find shortcuts",
            tooltip="Search this layer for what a class relies on without reason.",
            layout=w.Layout(width="auto"),
        )
        self.button.on_click(lambda _: self._start())
        self.result = w.HTML(text.hint(_HOW_TO), layout=w.Layout(width="100%"))
        self.toggles: list[w.ToggleButton] = []
        self.list = w.VBox(layout=w.Layout(width="100%"))
        self.widget = w.VBox(
            [w.HTML(text.heading("Shortcuts")), self.button, self.result, self.list],
            layout=w.Layout(width="100%"),
        )

    @property
    def directions(self) -> Tensor | None:
        """Unit vectors ``(m, C)`` of the suspects that are cut out; None where none is."""
        pairs = zip(self._suspects, self.toggles, strict=True)
        chosen = [suspect.direction for suspect, toggle in pairs if toggle.value]
        return torch.stack(chosen) if chosen else None

    @property
    def cut(self) -> tuple[str, ...]:
        """What is cut out, in words."""
        pairs = zip(range(len(self.toggles)), self.toggles, strict=True)
        return tuple(f"suspect {index + 1}" for index, toggle in pairs if toggle.value)

    @property
    def layer(self) -> str:
        """Name of the layer that the suspects are of; empty where there is none."""
        return self._suspects[0].layer if self._suspects else ""

    def code(self, base: str, options: str) -> str:
        """Return lines that cut the same suspects out of the network called ``base``.

        ``options`` are more arguments of the search.
        """
        chosen = [index for index, toggle in enumerate(self.toggles) if toggle.value]
        if not chosen:
            return ""
        lines = [f"report = pw.find_shortcuts(model, images, layer={self.layer!r}{options})"]
        for index in chosen:
            lines += [
                f"one = report.suspects[{index}]",
                f"without = pw.ablate({base}, one.layer, one.basis, one.component)",
            ]
            base = "without"
        return "\n".join(lines) + "\n"

    def forget(self) -> None:
        """Show no suspect: the layer or the network is another one."""
        with self._lock:
            self._show_suspects((), [])
            self.result.value = text.hint(_HOW_TO)

    def close(self) -> None:
        """Remove it from every page."""
        close_all(self.widget)

    def _start(self) -> None:
        self.button.disabled = True
        self.result.value = text.status("Searching …", kind="busy")
        self._search(self._answer)

    def _answer(self, found: Found | Exception) -> None:
        with self._lock:
            self.button.disabled = False
            if isinstance(found, Exception):
                self._show_suspects((), [])
                self.result.value = text.status(named(found), kind="warning")
                return
            report, images = found
            suspects = tuple(report.suspects[:_MOST_SUSPECTS])
            self._show_suspects(suspects, [self._strip(report, one, images) for one in suspects])
            more = len(report.suspects) - len(suspects)
            words = f"{len(report.suspects)} found{f', {more} not shown' if more else ''}."
            notes = " ".join(report.warnings)
            self.result.value = text.hint(f"{words if suspects else _CLEAN} {notes}")
        self._changed()

    def _show_suspects(self, suspects: tuple[Suspect, ...], strips: list[str]) -> None:
        former = self.list.children
        self._suspects = suspects
        self.toggles = [self._toggle(index) for index in range(len(suspects))]
        self.list.children = tuple(
            w.VBox([w.HTML(_words(index, one)), w.HTML(strips[index]), self.toggles[index]])
            for index, one in enumerate(suspects)
        )
        for part in former:
            close_all(part)

    def _toggle(self, index: int) -> w.ToggleButton:
        toggle = w.ToggleButton(
            description="Cut it out",
            tooltip=f"Project the features away from suspect {index + 1}, or take it in again.",
            layout=w.Layout(width="auto"),
        )
        toggle.observe(lambda _: self._changed(), "value")
        return toggle

    @staticmethod
    def _strip(report: ShortcutReport, suspect: Suspect, images: ImageBatch) -> str:
        maps = report.maps(suspect, images).float().cpu()
        strongest = maps.flatten(1).amax(1)
        reach = float(torch.quantile(maps.flatten()[:: 1 + maps.numel() // 65536], 0.995)) or 1.0
        order = strongest.argsort(descending=True).tolist()[:_PHOTOS]
        pictures = [
            (
                f"{photo + 1}: {images.names[photo]}",
                address(heated(images.pixels[photo], maps[photo], reach)),
            )
            for photo in order
        ]
        return strip("", pictures)


def _words(index: int, suspect: Suspect) -> str:
    component, cosine = suspect.nearest
    like = f"most like component {component + 1} (cosine {abs(cosine):.2f})"
    title = f"{index + 1}. {text.plain(suspect.class_name, 24)}: score {suspect.score:.2f}, {like}"
    lines = "".join(f"<li>{text.safe(line)}</li>" for line in suspect.evidence.lines())
    return (
        f'{text.heading(title)}<ul style="margin:2px 0;padding-left:16px;line-height:1.35;'
        f'font-size:12px">{lines}</ul>'
    )
