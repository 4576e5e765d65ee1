"""How an explorer fills the width that it has: one body, and the styles that arrange it.

From 640 CSS pixels of its own width on, pictures stand beside the controls and grow with the cell;
below that the head (layer, components, legend) stays in sight above the pictures while one
scrolls, and the tabs follow. A single picture has its controls beside it from 480 pixels on, a
comparison, whose galleries stand beside each other first, from 960 on. In the wide mode, for talks,
the pictures have the whole width and the controls are the head alone, in one row. Edges, focus
rings and what tells a pressed button have a contrast of 3 : 1 at least (WCAG 2.2, 1.4.11), on light
and dark pages.
"""

from __future__ import annotations

import ipywidgets as w

# The bars are what a window has above and below the tiles: JupyterLab's, status, toolbar and pins.
# JupyterLab clips what is in an output, and with it what is to stay in sight. Its own command
# prints the saved notebook, with still pictures; that of the browser prints a page whose boxes are
# as large as the window was, unless all boxes around an explorer grow with what is in them.
_STYLE = """<style>
.pfv-explorer { container: pfv / inline-size; overflow: visible;
  --pfv-page: var(--jp-layout-color0, Canvas); --pfv-bars: 300px; }
[data-voila] .pfv-explorer { --pfv-page: var(--jp-layout-color1, Canvas); --pfv-bars: 200px; }
:is(.jp-OutputArea, .jp-OutputArea-child, .jp-OutputArea-output, .jp-Cell-outputWrapper,
.jp-Cell-outputArea):has(.pfv-explorer) { overflow: visible; }
.pfv-body, .pfv-side, .pfv-head, .pfv-tabs { overflow: visible; margin: 0; }
.pfv-body { flex-direction: column !important; width: 100%; }
.pfv-body > .pfv-pictures { order: 1; width: 100%; }
.pfv-side { display: contents; }
.pfv-head { order: 0; display: grid; grid-template-columns: repeat(2, minmax(0, 1fr));
  column-gap: 14px; position: sticky; top: 0; z-index: 5; padding-bottom: 4px;
  background: var(--pfv-page); }
.pfv-head > :last-child { grid-column: 2; grid-row: 1 / span 3; }
.pfv-head > * { min-width: 0; max-width: 100%; }
.pfv-tabs { order: 2; isolation: isolate; }
.pfv-last { order: 3; }
.pfv-panes { column-gap: 10px; }
.pfv-methods > .pfv-body > .pfv-pictures { max-width: max(600px, 100vh + 160px); }
@container pfv (max-width: 1199px) {
  .pfv-panes:has(> .pfv-side-difference:not([style*="display: none"]))
    .pfv-hint .widget-html-content { font-size: 11px; }
}
@container pfv (max-width: 639px) {
  .pfv-status { flex-flow: row wrap; justify-content: flex-end; height: auto !important; }
  .pfv-status > .widget-html { flex: 1 0 100% !important; height: 40px; }
  .pfv-head .widget-label { width: auto !important; }
  .pfv-head .pfv-heading { display: none; }
  .pfv-explorer .pfv-plot { max-width: 400px !important; }
  .pfv-compare .pfv-hint .widget-html-content { font-size: 11px; }
}
@container pfv (max-width: 420px) {
  .pfv-head .pfv-bar, .pfv-explorer .pfv-more { display: none; }
  .pfv-head { grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); column-gap: 8px; }
  .pfv-head .widget-readout { min-width: 26px; max-width: 26px; }
  .pfv-explorer .widget-tab > .lm-TabBar > .lm-TabBar-content { flex-wrap: wrap; }
  .pfv-toolbar > .widget-box { margin: 0; min-width: 0; max-width: 100%; }
  .pfv-toolbar .widget-dropdown { max-width: calc(100% - 8px) !important; }
}
@container pfv (max-width: 300px) {
  .pfv-head { grid-template-columns: minmax(0, 1fr); }
  .pfv-head > :last-child { grid-column: 1; grid-row: auto; }
  .pfv-explorer :is(.pfv-status, .pfv-methods-bar) button { padding: 0 3px; font-size: 12px;
    margin: 1px !important; min-width: 0 !important; }
  .pfv-explorer .pfv-methods-bar button { flex: none; padding: 0 2px; font-size: 11px; }
  .pfv-methods-bar > .widget-html { min-width: 0 !important; }
  .pfv-methods-bar .widget-html-content { font-size: 11px; }
  .pfv-explorer :is(.pfv-fold, .pfv-last) { white-space: normal;
    height: auto !important; min-height: 28px; line-height: 1.3 !important; }
  .pfv-batch-hint { height: 60px !important; }
  .pfv-explorer select { font-size: 12px; padding-right: 16px; }
  .pfv-compare .widget-dropdown > .widget-label { width: auto !important; }
  .pfv-classes table { font-size: 11px !important; }
  .pfv-hint { height: 60px !important; }
  .pfv-hint .widget-html-content { font-size: 11px; }
}
@container pfv (max-width: 170px) {
  .pfv-toolbar .widget-dropdown > .widget-label { display: none; }
  .pfv-toolbar button { white-space: normal; height: auto; line-height: 1.6; }
  .pfv-pager { flex-wrap: wrap; width: 100%; }
  .pfv-pager > button { flex: 1 1 0; min-width: 0 !important; padding: 0 2px; }
  .pfv-pager > .widget-html { flex: 1 0 100%; }
  .pfv-hint { height: 80px !important; }
  .pfv-status > .widget-html { height: 80px; }
  .pfv-status { --pfv-lines: 4; }
  .pfv-status .widget-html-content { font-size: 12px; line-height: 1.25; }
}
BESIDE
@container pfv (min-width: 800px) {
  .pfv-wide > .pfv-body .pfv-head { grid-template: auto 1fr / 2fr 2fr 3fr; }
  .pfv-wide > .pfv-body .pfv-head > :nth-child(2) { grid-area: 2 / 1; }
  .pfv-wide > .pfv-body .pfv-head > :nth-child(3) { grid-area: 1 / 2; }
  .pfv-wide > .pfv-body .pfv-head > :last-child { grid-area: 1 / 3 / 3; }
  .pfv-wide > .pfv-body .pfv-head .pfv-heading { display: none; }
  .pfv-wide > .pfv-body .pfv-hint { height: 24px !important; }
}
.pfv-wide > .pfv-body { --pfv-bars: 345px; }
[data-voila] .pfv-wide > .pfv-body { --pfv-bars: 225px; }
.pfv-wide > .pfv-body :is(.pfv-tabs, .pfv-last) { display: none; }
[data-jp-theme-light="false"] .pfv-explorer .widget-dropdown > select { background-image:
  url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 18 18'%3E%3Cpath \
d='M5.2 7.5 9 11.3l3.8-3.8' fill='none' stroke='%23ddd' stroke-width='2'/%3E%3C/svg%3E"); }
.pfv-explorer :is(.pfv-status, .pfv-toolbar, .pfv-methods-bar) button, .pfv-explorer .pfv-fold {
  background: transparent; box-shadow: none !important; }
.pfv-explorer :is(.pfv-status, .pfv-toolbar, .pfv-methods-bar)
  button:is(:hover, .mod-active):not(:disabled), .pfv-explorer .pfv-fold:hover {
  background: var(--jp-layout-color2, #eee); }
.pfv-explorer .pfv-toolbar .widget-label { text-align: left; }
.pfv-explorer .widget-hslider { overflow: visible; }
.pfv-explorer .widget-tab > .widget-tab-contents { border: none !important;
  border-top: 1px solid var(--jp-border-color1, #bdbdbd) !important; }
.pfv-explorer .widget-tab > .lm-TabBar .lm-TabBar-tab { border-color: transparent !important;
  background: transparent !important; }
.pfv-tabs .widget-hbox > .widget-button { padding-inline: 4px; }
.pfv-explorer .pfv-fold { text-align: left; padding: 0 6px; font-weight: 600;
  color: inherit; }
.pfv-explorer .pfv-fold:focus { outline: none; }
.pfv-explorer :is(button, select, input, textarea, [role=tab], .noUi-handle,
  .widget-readout):focus-visible { outline: 2px solid var(--jp-brand-color1, #1a73e8) !important;
  outline-offset: 1px; }
.pfv-explorer .pfv-fold:focus-visible { outline-offset: -2px; }
.pfv-explorer :is(select, input:not([type=checkbox]), textarea, .noUi-handle) {
  border-color: #767676 !important; }
.pfv-explorer .widget-slider:not(.pfv-choice) .widget-readout[contenteditable=true] {
  text-decoration: underline dotted #767676; text-underline-offset: 3px; }
@media print {
  .pfv-explorer :is(.pfv-status, .pfv-toolbar, .pfv-tabs, .pfv-last, .pfv-hint, .pfv-how-to) {
    display: none !important; }
  .pfv-explorer { print-color-adjust: exact; background: #fff; color: #111; --pfv-page: #fff;
    --jp-ui-font-color0: #111; --jp-ui-font-color1: #111; --jp-content-font-color1: #111;
    --jp-widgets-label-color: #111; --jp-widgets-readout-color: #111; }
  .pfv-explorer .widget-html-content { color: #111 !important; }
  .pfv-explorer select { background: #fff !important; color: #111 !important; }
  [data-voila] { background: #fff !important; --jp-layout-color0: #fff !important;
    --jp-layout-color1: #fff !important; --jp-content-font-color0: #111 !important;
    --jp-content-font-color1: #111 !important; }
  [data-voila] #rendered_cells > div { padding: 0 !important; box-shadow: none !important; }
  .pfv-explorer, .pfv-explorer canvas { max-width: 100% !important; break-inside: avoid; }
  .pfv-head, .pfv-side { position: static !important; }
  :is(#main, [id^=jp-main-], .jp-NotebookPanel):has(.pfv-explorer) > :not(:has(.pfv-explorer)),
  .jp-Cell:has(.pfv-explorer) .jp-cell-toolbar { display: none !important; }
  :is(body, .lm-Widget, [class*=jp-WindowedPanel]):has(.jp-Cell .pfv-explorer) {
    position: static !important; width: auto !important; height: auto !important;
    min-width: 0 !important; min-height: 0 !important; contain: none !important;
    overflow: visible !important; background: #fff !important;
    --jp-content-font-color0: #111 !important; --jp-content-font-color1: #111 !important;
    --jp-cell-editor-background: #f5f5f5 !important; }
}
.pfv-explorer button.mod-active:not(.pfv-fold) {
  box-shadow: inset 0 0 0 2px var(--jp-brand-color1, #1a73e8) !important; }
</style>"""

# Pictures and controls side by side. Tabs scroll inside of it: pictures and head stay in sight.
_BESIDE = """@container pfv (min-width: WIDTHpx) {
  SCOPE > .pfv-body { flex-direction: row !important; align-items: flex-start; column-gap: 14px; }
  SCOPE > .pfv-body > .pfv-pictures { order: 0; flex: 100 1 0; min-width: 0; }
  SCOPE > .pfv-body > .pfv-side { display: flex; flex: 1 0 BASIS; min-width: 0;
    max-width: clamp(270px, 40cqw, 620px); position: sticky; top: 0;
    max-height: max(560px, 100vh - 170px); }
  SCOPE > .pfv-body > .pfv-side > * { flex: none; }
  SCOPE > .pfv-body > .pfv-side > .pfv-tabs { flex: 0 1 auto; min-height: 240px; }
  SCOPE > .pfv-body > .pfv-side > .pfv-tabs > .widget-tab-contents { min-height: 0;
    scrollbar-width: thin; scrollbar-gutter: stable; }
  SCOPE > .pfv-body > .pfv-side > .pfv-head { position: static; display: flex;
    flex-direction: column; background: none; }
}
"""


def _beside(width: int, kind: str, basis: str) -> str:
    style = _BESIDE.replace("WIDTH", str(width)).replace("SCOPE", f".pfv-explorer{kind}")
    return style.replace("BASIS", basis)


STYLE = _STYLE.replace(
    "BESIDE\n",
    "".join(
        _beside(width, kind, basis)
        for width, kind, basis in [
            (640, ":not(.pfv-wide, .pfv-compare)", "clamp(270px, 22cqw, 380px)"),
            (960, ".pfv-compare", "270px"),
            (480, ".pfv-reconstruct", "270px"),
        ]
    ),
)


def body(pictures: w.DOMWidget, side: w.Box) -> w.Box:
    """Return pictures with their controls: ``side`` is what :func:`controls` returns."""
    pictures.add_class("pfv-pictures")
    box = w.Box([pictures, side])
    box.add_class("pfv-body")
    return box


def controls(head: list[w.Widget], tabs: w.DOMWidget) -> w.Box:
    """Return the controls: a head that stays in sight, its legend last, and the tabs."""
    top = w.VBox(head)
    top.add_class("pfv-head")
    tabs.add_class("pfv-tabs")
    side = w.VBox([top, tabs])
    side.add_class("pfv-side")
    return side
