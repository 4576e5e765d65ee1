"""A frame as one HTML file: pictures with values under the pointer, and no kernel behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pfv_widgets.engine.colouring.colour_maps import legend
from pfv_widgets.engine.colouring.compositing import GREYED, VIEWS, Layer
from pfv_widgets.engine.export.html_data import data, grid, picture, png, side
from pfv_widgets.engine.export.html_template import asset, digest, escaped, filled, one_line
from pfv_widgets.engine.export.output_paths import checked_path, replacing
from pfv_widgets.engine.pca.basis_source import FittedBasis
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.parameters import Choice, parameters_of

if TYPE_CHECKING:
    from pfv_widgets.engine.pipeline.frame import Frame

_HERE = "pfv_widgets.engine.export"
_HOW_TO = (
    "Point at a position, or use Tab and the arrow keys: its values appear here, and dotted rings "
    "mark the most similar positions in other images."
)


def write_page(frame: Frame, path: str | Path) -> None:
    """Write :func:`page_of` to a ``.html`` file; an error leaves what was there."""
    target = checked_path(path, (".html", ".htm"), "for the page")
    page = page_of(frame)
    with replacing(target) as part:
        part.write_text(page, "utf-8")


def page_of(frame: Frame) -> str:
    """Return one HTML page that needs neither network nor kernel.

    Views, opacity and tile size can be changed in it; the position under the pointer, the finger
    or the keyboard's cursor shows its component values. About 0.6 MB for 16 pictures of 224 ×
    224 pixels and 8 MB for 200; larger batches are scaled down, and values are averaged over
    blocks of positions, so that pages stay below about 15 MB.
    """
    names = frame.names or tuple(f"image {index + 1}" for index in range(len(frame)))
    labels = tuple(map(one_line, frame.labels or ()))
    entries = _Entries(frame, tuple(map(one_line, names)), labels)
    script = asset(_HERE, "page.js")
    style = filled(asset(_HERE, "page.css"), entries.look())
    policy = (
        f"default-src 'none'; img-src data:; style-src {digest(style)}; "
        f"script-src {digest(script)}; base-uri 'none'; form-action 'none'"
    )
    code = {"style": style, "script": script, "policy": policy}
    return filled(asset(_HERE, "page.html"), entries.parts() | code)


@dataclass(frozen=True)
class _Entries:
    """What the page shows of one frame; every text from outside goes through ``escaped``."""

    frame: Frame
    names: tuple[str, ...]
    labels: tuple[str, ...]

    def look(self) -> dict[str, str]:
        tile = min(480, max(128, 900 // math.ceil(math.sqrt(len(self.frame)))))
        return {
            "opacity": f"{self._opacity():g}",
            "tile": str(tile),
            "faded": f"{GREYED.strength:g}",
            "views": "\n".join(
                f'.gallery[data-view="{name}"] .photo + .heat {{ opacity: {opacity}; }}'
                for name, opacity in _views().items()
            ),
        }

    def parts(self) -> dict[str, str]:
        frame, look = self.frame, self.look()
        views = _views()
        view = frame.settings.view if frame.settings.view in views else next(iter(views))
        hidden = " hidden" if frame.pixels is None else ""
        layer = escaped(frame.layer or "activations")
        return {
            "title": f"Principal features of {layer}",
            "layer": layer,
            "summary": escaped(self._summary()),
            "views": "\n".join(_radio(one, checked=one == view) for one in views),
            "view": view,
            "views_off": hidden,
            "opacity_off": hidden,
            "disabled": " disabled" if hidden else "",
            "percent": f"{100 * self._opacity():.0f}",
            "tile": look["tile"],
            "how_to": escaped(_HOW_TO),
            "legend": self._legend(),
            "tiles": self._tiles(),
            "facts": "\n".join(
                f"<dt>{escaped(k)}</dt><dd>{escaped(v)}</dd>" for k, v in self._facts()
            ),
            "warnings": "".join(f'<p class="quiet">{escaped(one)}</p>' for one in frame.warnings),
            "data": data(frame),
        }

    def _opacity(self) -> float:
        return 1.0 if self.frame.pixels is None else self.frame.settings.opacity

    def _summary(self) -> str:
        frame = self.frame
        ratios = frame.basis.explained_variance_ratio[list(frame.settings.shown)]
        number = f"{len(frame)} image{'s' * (len(frame) != 1)}"
        high, wide = frame.scores.shape[2:]
        share = f"{100 * float(ratios.sum()):.1f} % of the variance in the colours"
        return f"{number} · {high} × {wide} positions each · {share}"

    def _legend(self) -> str:
        frame = self.frame
        components = frame.settings.shown
        ratios = frame.basis.explained_variance_ratio.tolist()
        ramps = (255 * legend(frame.settings.colour_map, len(components))).round().byte().numpy()
        coloured = not (frame.settings.pins and frame.settings.similarity)
        return "\n".join(
            f'<li><span class="number">{index + 1}</span>{_ramp(ramp, index) if coloured else "–"}'
            f'<span class="share" title="share of the variance">{100 * ratios[index]:.1f} %</span>'
            '<span class="value" title="value at the position">–</span>'
            '<span class="swing" aria-hidden="true"><i></i></span></li>'
            for index, ramp in zip(components, ramps, strict=True)
        )

    def _tiles(self) -> str:
        size = side(*self.frame.heatmaps.shape[:3])
        return "\n".join(self._tile(index, size) for index in range(len(self.frame)))

    def _tile(self, index: int, size: tuple[int, int]) -> str:
        name = escaped(self.names[index])
        label = escaped(self.labels[index]) if self.labels else ""
        out = not self.frame.weights[index] > 0
        words = f"{name}{f', {label}' if label else ''}{', not in the basis' if out else ''}"
        heat = (255 * self.frame.heatmaps[index].cpu().clamp(0, 1)).round().byte().numpy()
        heatmap = picture(heat, size, colours=0)
        images = f'<img class="heat" alt="Heatmap of {words}" src="{heatmap}">'
        if self.frame.pixels is not None:
            photo = picture(self.frame.pixels[index], size, colours=2)
            images = f'<img class="photo" alt="Photo of {words}" src="{photo}">{images}'
        tab, chosen = ("0", "true") if index == 0 else ("-1", "false")
        return (
            f'<figure role="option" tabindex="{tab}" aria-selected="{chosen}" aria-label="{words}">'
            f'<div class="picture{" out" if out else ""}" data-name="{name}" '
            f'data-label="{label}">{images}</div>'
            f'<figcaption><span title="{name}"><bdi>{name}</bdi></span>'
            + (f'<span class="label" title="{label}"><bdi>{label}</bdi></span>' if label else "")
            + "</figcaption></figure>"
        )

    def _facts(self) -> list[tuple[str, str]]:
        frame, settings = self.frame, self.frame.settings
        cells = grid(frame)
        averaged = "" if cells == tuple(frame.scores.shape[2:]) else ", averaged over blocks"
        facts = [
            ("Layer", f"{frame.layer or 'activations'}, {len(frame.basis.mean)} channels"),
            ("Components", ", ".join(str(index + 1) for index in settings.shown)),
            ("Weighting", settings.weighting),
            ("Contrast", f"σ = {settings.sigma:g}, scale {_words_of(settings, 'normalisation')}"),
            ("Colours", f"{settings.colour_map}, shown: {_words_of(settings, 'sharing')}"),
            ("Basis", self._basis()),
            ("Values", f"{cells[0]} × {cells[1]} positions an image{averaged}; before weighting"),
        ]
        if settings.pins and settings.similarity:
            facts.insert(0, ("Shown", f"similarity to {len(settings.pins)} pinned positions"))
        return facts

    def _basis(self) -> str:
        """Say what the basis was fitted to: the whole batch, of which the frame may hold a part."""
        frame = self.frame
        if frame.basis_source != FittedBasis().description:
            return frame.basis_source
        number = len(frame if frame.forward is None else frame.forward.images)
        weights = frame.settings.images or (1.0,) * number
        inside = [weight for weight in weights if weight > 0]
        even = len(set(inside)) == 1
        how = "all with the same weight" if even else "weighted differently"
        return f"{len(inside)} of {len(weights)} images, {how}"


def _words_of(settings: Settings, name: str) -> str:
    """Return the value of a choice as controls call it."""
    value: str = getattr(settings, name)
    declared = parameters_of(settings)[name]
    return declared.words.get(value, value) if isinstance(declared, Choice) else value


def _ramp(ramp: np.ndarray, index: int) -> str:
    source = png(Image.fromarray(ramp[None]))
    return f'<img class="ramp" alt="component {index + 1}, low to high" src="{source}">'


def _views() -> dict[str, str]:
    """Opacity of the heatmap, in CSS, in each view that a heatmap over a photo can show."""
    opacities = {}
    for name, view in VIEWS.items():
        photos, heatmaps = (
            [layer for layers in view.panes for layer in layers if layer.source == source]
            for source in ("photo", "heatmap")
        )
        if len(view.panes) == 1 and not view.divided and set(photos) <= {Layer("photo")}:
            if heatmaps == []:
                opacities[name] = "0"
            elif len(heatmaps) == 1 and heatmaps[0].tint is None:
                opacity = heatmaps[0].opacity
                opacities[name] = "var(--opacity)" if opacity is None else f"{opacity:g}"
    return opacities


def _radio(view: str, *, checked: bool) -> str:
    mark = " checked" if checked else ""
    return (
        f'<label><input type="radio" name="view" value="{view}"{mark}>'
        f"<span>{view.capitalize()}</span></label>"
    )
