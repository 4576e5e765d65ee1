"""How the explorer looks and is reached: themes, widths, densities, keyboard, names, sizes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import expect

from pfv_widgets.widgets.explorer.tabs import TABS
from tests.browser.explorer_page import HELPERS, ExplorerPage
from tests.browser.lab import LabPage

OpenLab = Callable[[list[str]], LabPage]
READABLE = 4.5  # contrast of text to its background that WCAG 2.2 asks for (1.4.3)
ROLES = "slider|combobox|checkbox|button|textbox|spinbutton|tab|radio|listbox"
CONTROL = re.compile(rf'^\s*- [\'"]?({ROLES})\b(?: "((?:[^"\\]|\\.)*)")?', re.MULTILINE)
THEMES = ("JupyterLab Light", "JupyterLab Dark")

# Each visible text with the contrast to what is behind it, opacity reckoned in (WCAG 2.2).
CONTRASTS = r"""box => {
  const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const parse = (text) => {
    const numbers = text.match(/[\d.]+/g).map(Number);
    return numbers.length < 4 ? [...numbers, 1] : numbers;
  };
  const over = (front, alpha, back) => back.map((v, i) => alpha * front[i] + (1 - alpha) * v);
  const canvases = [...box.querySelectorAll("canvas")].filter((one) => one.checkVisibility());
  const painted = (element) => {  // colour in the middle of what a canvas shows below a text
    const { left, right, top, bottom } = element.getBoundingClientRect();
    for (const canvas of canvases) {
      const at = canvas.getBoundingClientRect(), scale = canvas.width / at.width;
      if (at.left > left || at.right < right || at.top > top || at.bottom < bottom) continue;
      const part = [left - at.left, top - at.top, right - left, bottom - top];
      const { data } = canvas.getContext("2d").getImageData(...part.map((v) => v * scale));
      const middle = (k) => data.filter((_, i) => i % 4 == k).sort()[data.length >> 3];
      if (middle(3) == 255) return [0, 1, 2].map(middle);
    }
  };
  const behind = (element) => {
    const paper = painted(element);
    if (paper) return paper;
    const layers = [];
    for (let e = element; e; e = e.parentElement)
      layers.unshift(parse(getComputedStyle(e).backgroundColor));
    return layers.reduce((back, layer) => over(layer, layer[3], back), [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement, text = node.textContent.trim();
    if (!text || element.closest("style, [aria-hidden=true], :disabled")) continue;
    if (!element.checkVisibility()) continue;
    const back = behind(element);
    let [r, g, b, alpha] = parse(getComputedStyle(element).color);
    for (let e = element; e; e = e.parentElement) alpha *= Number(getComputedStyle(e).opacity);
    const pair = [light(back), light(over([r, g, b], alpha, back))].sort((p, q) => q - p);
    const kind = element.closest("[role=tab], .jupyter-widget-Collapse-header") ? "tab" : "text";
    found.push([kind, text.slice(0, 40), (pair[0] + 0.05) / (pair[1] + 0.05)]);
  }
  return found;
}"""

# Edges of inputs and handles, and the ring that a focused or pressed one has, with the contrast to
# what is around them (WCAG 2.2, 1.4.11).
EDGES = r"""box => {
  const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const parse = (text) => text.match(/rgba?\([^)]*\)/)?.[0].match(/[\d.]+/g).map(Number);
  const around = (element) => {
    const box = element.closest(".widget-slider") ?? element;  // the ring goes beyond the track
    for (let e = box.parentElement; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if ((colour[3] ?? 1) === 1) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = (colour, element) => {
    const pair = [light(colour), light(around(element))].sort((p, q) => q - p);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  };
  const found = [], seen = (one) => one.checkVisibility() && !one.closest(":disabled, [disabled]");
  const say = (kind, one, colour) => found.push([kind, one.outerHTML.slice(0, 60),
    colour ? contrast(colour, one) : 0]);
  const all = (selector) => [...box.querySelectorAll(selector)].filter(seen);
  for (const one of all("select, input:not([type=checkbox]), textarea, .noUi-handle")) {
    const style = getComputedStyle(one), edges = [style.borderTopColor, style.backgroundColor];
    const best = edges.map(parse).sort((a, b) => contrast(b, one) - contrast(a, one))[0];
    say("edge", one, best);
  }
  for (const one of all("button.mod-active:not(.pfv-fold)"))
    say("pressed", one, parse(getComputedStyle(one).boxShadow));
  const focusable = "button, select, input, textarea, [role=tab], .noUi-handle, "
    + ".widget-readout[contenteditable=true]";
  for (const one of all(focusable)) {
    one.focus({ focusVisible: true });
    const style = getComputedStyle(one), ring = style.outlineStyle === "solid"
      && (style.boxShadow === "none" || !one.matches(".pfv-fold"));  // a heading is flat
    if (document.activeElement === one) say("focus", one, ring && parse(style.outlineColor));
    one.blur();
  }
  return found;
}"""
SEEN = 3  # contrast of what is no text

# Whether the panel is one row above the gallery, whose end is in the window that JupyterLab leaves.
IN_ONE_ROW = """() => {
  const box = document.querySelector(".pfv-explorer"), side = (one) => one.getBoundingClientRect();
  const [layer, components] = [...box.querySelectorAll(".pfv-head .noUi-target")].map(side);
  const canvas = side(box.querySelector(".pfv-pictures canvas"));
  const room = box.closest(".jp-WindowedPanel-outer").clientHeight;
  return Math.abs(layer.top - components.top) < 9 && components.bottom <= canvas.top
    && canvas.bottom - side(box).top <= room;
}"""

# Sizes of the output and of the gallery, and the widest thing that sticks out to the right.
MEASURES = """box => {
  const output = box.closest(".jp-OutputArea-output");
  const canvas = box.querySelector("canvas");
  const { width, height, right } = canvas.getBoundingClientRect();
  const middle = (one) => {
    const { top, bottom } = one.getBoundingClientRect();
    return (top + bottom) / 2;
  };
  const [said, undo] = ["[role=status] > div", "button"].map((one) =>
    box.querySelector(`.pfv-status ${one}`));
  const controls = [...box.querySelectorAll("input, select, button, [role=slider], canvas")];
  const seen = controls.filter((control) => control.checkVisibility());
  return {
    output: output.clientWidth,
    content: output.scrollWidth,
    edge: output.getBoundingClientRect().right,
    right: Math.max(...seen.map((control) => control.getBoundingClientRect().right)),
    ratio: canvas.width / canvas.height,
    shown: width / height,
    density: canvas.width / width,
    uneven: Math.abs(middle(said) - middle(undo)),
    plot: Math.max(...[...box.querySelectorAll(".pfv-plot canvas")].map((one) => one.clientWidth)),
  };
}"""

# Controls that a person can see and use, each given a number.
NUMBERED = """box => [...box.querySelectorAll("*")]
  .filter((element) => element.tabIndex >= 0 && !element.disabled)
  .filter((element) => element.checkVisibility({ visibilityProperty: true }))
  .filter((element) => !element.closest("[disabled], .jp-mod-disabled"))
  .map((element, number) => (element.dataset.testNumber = number, element.outerHTML.slice(0, 120)))
"""
FOCUSED = """() => {
  const focused = document.activeElement;
  if (focused === document.body) return "";
  return focused.closest(".pfv-explorer") ? focused.dataset.testNumber ?? "" : null;
}"""
CANVAS_LET_GO = "() => document.activeElement?.tagName !== 'CANVAS'"


# Visible inputs and buttons that show no help when pointed at, or help as HTML.
WITHOUT_HELP = """box => {
  const kinds = ".widget-inline-hbox, .widget-checkbox, .widget-dropdown, .widget-textarea, button";
  return [...box.querySelectorAll(kinds)]
    .filter((one) => one.checkVisibility() && (one.matches("button, .widget-textarea")
      || one.querySelector("input, select, .noUi-handle")))
    .filter((one) => {
      const titles = [one, ...one.querySelectorAll("[title]")].map((part) => part.title);
      return !titles.some(Boolean) || titles.some((title) => title.startsWith("<"));
    })
    .map((one) => one.outerHTML.slice(0, 200));
}"""


# What is measured once the window has this width and twenty frames have shown the same.
SETTLED = f"""async (box, width) => {{
  const measure = {MEASURES};
  for (let frame = 0, same = 0, last = ""; same < 20; frame++) {{
    if (frame > 3600) throw new Error("the layout never comes to rest");
    await new Promise(requestAnimationFrame);
    const now = innerWidth === width ? JSON.stringify(measure(box)) : "";
    same = now && now === last ? same + 1 : 0;
    last = now;
  }}
  return measure(box);
}}"""

# Whether every canvas that is seen shows more than a few colours.
PAINTED = """() => [...document.querySelectorAll(".pfv-explorer canvas")]
  .filter((canvas) => canvas.checkVisibility())
  .every((canvas) => {
    if (!canvas.width || !canvas.height) return false;
    const context = canvas.getContext("2d");
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Set();
    for (let i = 0; i < data.length; i += 404) seen.add(data[i] + 256 * data[i + 1]);
    return seen.size > 4;
  })"""

CANVASES = """box => [...box.querySelectorAll("canvas")]
  .filter((canvas) => canvas.checkVisibility())
  .map((canvas) => canvas.getAttribute("aria-label") ?? "")"""


def titles(explorer: ExplorerPage) -> list[str]:
    """Titles of the tabs of the panel."""
    expect(explorer.box.get_by_role("tab")).to_have_text(list(TABS))
    return list(TABS)


@dataclass
class Seen:
    """What one page showed: contrasts of texts, roles and names of controls."""

    contrasts: list[tuple[str, str, float]] = field(default_factory=list)
    names: set[tuple[str, str]] = field(default_factory=set)
    helpless: list[str] = field(default_factory=list)

    def read(self, explorer: ExplorerPage) -> None:
        assert isinstance(explorer.page, LabPage)
        expect(explorer.box).to_contain_class("pfv-scripted")
        for theme in THEMES:
            explorer.page.theme(theme)
            for title in titles(explorer):
                explorer.open_tab(title)
                explorer.page.wait_for(PAINTED)
                if theme == THEMES[0]:  # names are the same in both
                    self.names |= set(CONTROL.findall(at_rest(explorer)))
                result = explorer.box.evaluate(CONTRASTS)
                assert len(result) > 10, f"page {title!r} shows no texts"
                result += explorer.box.evaluate(EDGES)
                self.contrasts += [(kind, f"{text} ({theme})", at) for kind, text, at in result]
                self.names |= {("canvas", name) for name in explorer.box.evaluate(CANVASES)}
                self.helpless += explorer.box.evaluate(WITHOUT_HELP)

    def faint(self, kind: str, least: float = READABLE) -> list[tuple[str, float]]:
        """Texts, or other things, of a kind that are hard to see, with their contrast."""
        texts = {(text, round(at, 2)) for one, text, at in self.contrasts if one == kind}
        assert texts
        return sorted(one for one in texts if one[1] < least)

    def named(self, role: str) -> list[str]:
        """Names of the controls of a role."""
        result = sorted(name for one, name in self.names if one == role)
        assert result
        return result


def at_rest(explorer: ExplorerPage) -> str:
    """What a screen reader is told of all controls, once the last of them have their names."""
    last, same = "", 0
    while same < 3:
        now = explorer.box.aria_snapshot()
        last, same = now, same + 1 if now == last else 0
        explorer.page.page.wait_for_timeout(300)
    return last


def sizes_at_width(explorer: ExplorerPage, width: int) -> dict[str, float]:
    """Sizes once the page is as wide, and the layout is at rest."""
    page = explorer.page.page
    page.set_viewport_size({"width": width, "height": 1000})
    result: dict[str, float] = explorer.box.evaluate(SETTLED, width)
    return result


def test_every_tab_is_readable_and_explains_and_names_its_controls_in_both_themes(
    demo: ExplorerPage,
) -> None:
    seen = Seen()
    seen.read(demo)
    assert not set(seen.helpless)
    assert not seen.faint("text")
    assert not seen.faint("tab")
    for kind in ("edge", "focus", "pressed"):
        assert not seen.faint(kind, SEEN), kind
    for role in ("combobox", "checkbox", "slider", "textbox", "canvas"):
        assert all(seen.named(role)), role  # for screen readers
    assert not [name for name in seen.named("button") if not re.search(r"[A-Za-z]{2}", name)]


def test_nothing_scrolls_sideways_or_is_stretched_at_any_width(demo: ExplorerPage) -> None:
    at_1280 = sizes_at_width(demo, 1280)
    demo.open_tab("Components")
    cell_of_900 = round(1280 + 900 - at_1280["output"])
    demo.wait_until("explorer.gallery.view_state.page.columns", "4")
    for width in (700, 900, 1280, cell_of_900, 1920):
        result = sizes_at_width(demo, width)
        assert result["content"] <= result["output"], width
        assert result["right"] <= result["edge"] + 1, width
        assert result["shown"] == pytest.approx(result["ratio"], rel=0.01), width
        if result["output"] > 640:  # "Up to date." is beside its buttons, and not above them
            assert result["uneven"] < 3, width
        else:  # the tabs have the whole width, and a plot more of it than beside the gallery
            assert result["plot"] > 300, width
    demo.wait_until("explorer.gallery.view_state.page.columns", "8")  # arranged for a wide window
    assert sizes_at_width(demo, cell_of_900)["output"] == pytest.approx(900, abs=1)
    demo.wait_until("explorer.gallery.view_state.page.columns", "4")


def test_wide_mode_has_one_row_of_controls_and_shows_all_images_in_900_pixels(
    demo: ExplorerPage,
) -> None:
    page, wide = demo.page.page, demo.box.get_by_role("button", name="Wide")
    sizes_at_width(demo, 1920)
    page.set_viewport_size({"width": 1920, "height": 900})
    wide.click()
    demo.page.wait_for(IN_ONE_ROW, timeout=20)
    wide.click()


@pytest.mark.all
@pytest.mark.parametrize("density", [2])
@pytest.mark.parametrize(
    ("width", "least"),
    [
        (1280, 1.5),
        (1920, 1.25),  # the gallery grows with the window, its canvas does not
    ],
)
def test_gallery_is_crisp_on_a_dense_screen(
    lab: OpenLab, density: float, width: int, least: float
) -> None:
    demo = ExplorerPage(lab([HELPERS, "explorer = pw.demo()\nexplorer"]))
    demo.wait_for_frame(0)
    assert demo.page.page.evaluate("devicePixelRatio") == density
    assert sizes_at_width(demo, width)["density"] >= least


def test_keys_reach_every_control_and_page_and_none_keeps_the_focus(demo: ExplorerPage) -> None:
    for title in titles(demo):
        demo.open_tab(title)
        demo.page.wait_for(PAINTED)  # the buttons of the components are there too
        controls, reached = walk_with_tab(demo)
        assert len(controls) > 5
        missed = [html for number, html in enumerate(controls) if str(number) not in reached]
        assert not missed, f"page {title!r}"

    first, second = (demo.box.get_by_role("tab").nth(number) for number in (0, 1))
    first.click()
    first.press("ArrowRight")
    demo.page.page.keyboard.press("Enter")
    expect(second).to_have_attribute("aria-selected", "true")


def walk_with_tab(explorer: ExplorerPage) -> tuple[list[str], list[str]]:
    """Press Tab from the first control until the focus has left; all controls, and the reached."""
    page = explorer.page.page
    controls: list[str] = explorer.box.evaluate(NUMBERED)
    explorer.box.locator("[data-test-number='0']").focus()
    reached: list[str] = []
    while (number := page.evaluate(FOCUSED)) is not None:
        assert len(reached) < 4 * len(controls), "the focus does not leave the explorer"
        reached.append(number)
        page.keyboard.press("Tab")
        if number and controls[int(number)].startswith("<canvas"):
            page.wait_for_function(CANVAS_LET_GO)
    return controls, reached


@pytest.mark.all
@pytest.mark.parametrize("count", [1, 64, 200])
def test_batches_of_any_size_are_painted_and_follow_a_slider(lab: OpenLab, count: int) -> None:
    page = lab([HELPERS, f"explorer = pw.demo({count})\nexplorer"])
    explorer = ExplorerPage(page)
    assert page.run("explorer.wait(120)", timeout=150) == "True"
    explorer.wait_for_frame(0)
    before = explorer.settled()[:32, :32]
    page.press(explorer.slider("Opacity"), "Home")
    explorer.wait_until("explorer.settings.opacity", "0.0")
    explorer.wait_for_frame(0)
    assert (explorer.settled()[:32, :32] != before).any()
    result = sizes_at_width(explorer, 1280)
    assert result["content"] <= result["output"]
    assert result["shown"] == pytest.approx(result["ratio"], rel=0.01)
    expect(explorer.status).to_have_role("status")


def test_browser_prints_the_whole_notebook_and_not_its_window(demo: ExplorerPage) -> None:
    page = demo.page.page
    page.set_viewport_size({"width": 800, "height": 500})
    try:
        page.emulate_media(media="print")
        expect(page.locator("#jp-top-panel")).to_be_hidden()
        height, width = demo.gallery.evaluate(
            "({ clientHeight, clientWidth }) => [clientHeight, clientWidth]"
        )
        assert width > 300
        assert page.evaluate("() => document.documentElement.scrollHeight") > max(500, height)
    finally:
        page.emulate_media(media="screen")
