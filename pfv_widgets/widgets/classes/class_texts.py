"""The tab "Classes" in words and small tables: HTML in which nothing foreign comes alive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from textwrap import shorten

import torch

from pfv_widgets.analysis.ablation.cut_effect import CutEffect
from pfv_widgets.analysis.classes.component_classes import ComponentClasses
from pfv_widgets.analysis.core.intervals import Interval
from pfv_widgets.widgets.toolkit.text import MUTED, heading, hint, in_digits, plain, safe

STYLE = """<style>
.pfv-classes table { border-collapse: collapse; width: 100%; font-size: 12px; line-height: 1.45;
  font-variant-numeric: tabular-nums; table-layout: fixed; }
.pfv-classes td, .pfv-classes th { padding: 1px 3px; text-align: right; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; }
.pfv-classes th { font-weight: 600; font-size: 11px; }
.pfv-classes td:first-child, .pfv-classes th:first-child { text-align: left; width: 38%; }
.pfv-classes tr.pfv-sum td { border-top: 1px solid rgba(128,128,128,.6); font-weight: 600; }
.pfv-classes .pfv-up { color: #1f7a46; } .pfv-classes .pfv-down { color: #c5351c; }
.pfv-classes .pfv-moves { font-size: 12px; line-height: 1.4; }
.pfv-classes .pfv-moves > div { overflow-wrap: anywhere; }
.pfv-classes .pfv-strip { display: flex; gap: 2px; align-items: center; font-size: 11px; }
.pfv-classes :is(.widget-html, .widget-dropdown, .widget-button, .widget-vbox) {
  margin-left: 0; margin-right: 0; }
.pfv-classes .pfv-strip > span { flex: 0 0 32px; opacity: .72; }
.pfv-classes .pfv-strip img { flex: 1 1 0; min-width: 0; max-width: 58px; display: block;
  height: auto; }
.pfv-classes .widget-toggle-button.mod-active:not(.pfv-fold) {
  outline: 2px solid #d93025; outline-offset: -2px; }
.pfv-classes .widget-toggle-button { height: 24px; line-height: 24px; padding: 0 8px; }
[data-jp-theme-light="false"] .pfv-classes .pfv-up { color: #6fd39b; }
[data-jp-theme-light="false"] .pfv-classes .pfv-down { color: #ff9a86; }
</style>"""

_CUT = {
    "project": "Without {}", "keep": "With {} alone", "clamp": "With the high side of {} clamped",
}  # fmt: skip
_NAMES = 3  # classes on a side
_LONGEST = 240  # characters of what was assumed; all of it in a tooltip
_LEAST = 0.005  # that is not written as zero
_MOST_ROWS = 12
_signed = partial(in_digits, form="+.2f")
_CARRIERS = 2  # components that are named in a difference
_MOST_CELLS = 5  # classes that a grid of the confusion has


def about(found: ComponentClasses) -> str:
    """Say how the parts were found, and what was assumed."""
    how = (
        "exact: pooling and a linear read-out follow."
        if found.exact
        else "by integrated gradients: what is said of “all others” is right within "
        f"{found.completeness_error:.2g}."
    )
    line = hint(f"At {plain(found.layer)}, {how}")
    notes = " ".join(found.warnings)
    if not notes:
        return line
    return (
        f'{line}<div title="{safe(notes)}">{hint(shorten(notes, _LONGEST, placeholder=" …"))}</div>'
    )


def moves(found: ComponentClasses, component: int) -> str:
    """Say whose scores a component's high side raises and lowers, by a typical photo."""
    typical = found.effects[component]
    if not bool(torch.isfinite(typical).all()):
        return f'<div class="pfv-moves" style="{MUTED}">The same in every photo: undefined.</div>'
    order = typical.argsort(descending=True).tolist()
    number = min(_NAMES, (len(order) + 1) // 2)
    up = [(unit, float(typical[unit])) for unit in order[:number] if typical[unit] >= _LEAST]
    down = [
        (unit, float(typical[unit])) for unit in order[::-1][:number] if typical[unit] <= -_LEAST
    ]
    return (
        '<div class="pfv-moves">'
        f"<div>{_list('raises', up, found)}</div><div>{_list('lowers', down, found)}</div></div>"
    )


def _list(word: str, entries: Sequence[tuple[int, float]], found: ComponentClasses) -> str:
    kind = "pfv-up" if word == "raises" else "pfv-down"
    names = ", ".join(
        f'{safe(found.classes[unit], 60)} <b class="{kind}">{_signed(value)}</b>'
        for unit, value in entries
    )
    return f'<span style="{MUTED}">{word}</span> {names or "none"}'


def photo_table(found: ComponentClasses, image: int) -> str:
    """Split the scores of one photo into parts that add up: predicted and expected class."""
    name = f"Image {image + 1}: {plain(found.names[image], 30) if found.names else ''}"
    if not bool(torch.isfinite(found.image_shares[image]).all()):
        return heading(name) + hint("Its scores are not numbers: nothing can be split.")
    predicted = int(found.predicted[image])
    units = [predicted]
    if found.expected is not None and int(found.expected[image]) != predicted:
        units.append(int(found.expected[image]))
    titles = ["predicted" if unit == predicted else "expected" for unit in units]
    if found.expected is not None and len(units) == 1:
        titles = ["predicted, right"]
    if len(found.classes) == 1:
        titles = ["the only output"]
    head = "".join(
        f'<th title="{safe(found.classes[unit])}">{safe(found.classes[unit], 16)}<br>'
        f'<span style="{MUTED};font-weight:400">{title}</span></th>'
        for unit, title in zip(units, titles, strict=True)
    )
    parts = [("mean feature", found.image_baseline[image])]
    parts += [(f"component {i + 1}", one) for i, one in enumerate(found.image_shares[image])]
    parts += [("all others", found.image_rest[image])]
    rows = "".join(_row(title, [float(one[unit]) for unit in units]) for title, one in parts)
    total = _row("score", [float(found.scores[image, unit]) for unit in units], "pfv-sum")
    table = f"<table><tr><th></th>{head}</tr>{rows}{total}</table>"
    return heading(name) + table + _carriers(found, image, units)


def _row(title: str, values: Sequence[float], kind: str = "") -> str:
    cells = "".join(f"<td>{_signed(value)}</td>" for value in values)
    return f'<tr class="{kind}"><td>{title}</td>{cells}</tr>'


def _carriers(found: ComponentClasses, image: int, units: Sequence[int]) -> str:
    """Say which components carry the difference of the predicted class to the expected one."""
    if len(units) < 2:  # a line in its place, so that what is below does not move
        right = found.expected is not None and len(found.classes) > 1
        return hint("Predicted as labelled." if right else "")
    *parts, rest, baseline = found.difference(image).tolist()
    total = sum(parts) + rest + baseline
    most = sorted(range(len(parts)), key=lambda one: -parts[one])[:_CARRIERS]
    summands = [(f"component {one + 1}", parts[one]) for one in most if parts[one] > 0]
    left = sum(parts) - sum(value for _, value in summands)
    if len(summands) < len(parts):
        summands.append(("the other components" if summands else "the components", left))
    summands += [("all others", rest), ("mean feature", baseline)]
    words = ", ".join(f"{name} {_signed(value)}" for name, value in summands)
    return hint(f"The difference of {total:.2f} is {words}.")


def effect_table(effect: CutEffect, cut: str, image: int) -> str:
    """Return accuracy, accuracy by class, confusion and one photo's probabilities.

    Of a network with one output, which predicts no class, its scores instead. ``cut`` says what is
    cut, as :func:`cut_in_words` does; it is empty where nothing is.
    """
    if len(effect.classes) == 1:
        parts = [_scores(effect, cut, image)]
    else:
        parts = [_accuracies(effect, cut), _probabilities(effect, image, bool(cut))]
        if effect.expected is not None:
            parts.append(_confusion(effect, bool(cut)))
    left_out = int((~effect.defined).sum())
    if left_out:
        are, their = ("photo is", "its") if left_out == 1 else ("photos are", "their")
        parts.append(hint(f"{left_out} {are} left out: {their} scores are not numbers."))
    return "".join(parts)


def cut_in_words(cut: tuple[int, ...], suspects: tuple[int, ...], mode: str) -> str:
    """Say what is done to which components and suspects; empty where nothing is."""
    what = names_of_cut(cut, suspects)
    return _CUT[mode].format(what) if what else ""


def names_of_cut(cut: tuple[int, ...], suspects: tuple[int, ...]) -> str:
    """Name components and suspects by their numbers; empty where there is none."""
    return " and ".join(
        f"{kind}{'s' * (len(indices) > 1)} {', '.join(str(one + 1) for one in indices)}"
        for kind, indices in (("component", cut), ("suspect", suspects)) if indices
    )  # fmt: skip


def summary(effect: CutEffect, cut: str) -> str:
    """Say in a line what comes of a cut."""
    if len(effect.classes) == 1:
        before, after = _mean_scores(effect)
        return f"{cut}: mean score {_signed(before)} → {_signed(after)}."
    moved = f"{len(effect.changed)} of {len(effect.before)} predictions change"
    accuracy = effect.accuracy()
    if accuracy is None:
        return f"{cut}: {moved}."
    before, after = (100 * one.value for one in accuracy)
    return f"{cut}: {moved}, {before:.0f} → {after:.0f} % right."


def _mean_scores(effect: CutEffect) -> tuple[float, float]:
    """Return the mean over the photos of the only score, before and after."""
    before, after = (scores[effect.defined].mean() for scores in (effect.before, effect.after))
    return float(before), float(after)


def _scores(effect: CutEffect, cut: str, image: int) -> str:
    """Return the scores of a network with one output: all photos, and one of them."""
    pairs = [("mean of all", *_mean_scores(effect))]
    pairs.append((f"image {image + 1}", float(effect.before[image]), float(effect.after[image])))
    rows = "".join(
        f"<tr><td>{name}</td><td>{_signed(before)}</td>"
        + (f"<td>{_signed(after)}</td></tr>" if cut else "</tr>")
        for name, before, after in pairs
    )
    after = "<th>after</th>" if cut else ""
    table = f"<table><tr><th>score</th><th>before</th>{after}</tr>{rows}</table>"
    note = "The network has one output, so no class is predicted: only its score can be compared."
    return heading(cut or "Nothing is cut") + table + hint(note)


def _accuracies(effect: CutEffect, cut: str) -> str:
    what = cut or "Nothing is cut"
    accuracy = effect.accuracy()
    moved = f"{len(effect.changed)} of {len(effect.before)} predictions change." if cut else ""
    if accuracy is None:
        return heading(what) + hint(f"{moved} The photos have no labels, or some that the network "
                                    "does not know: accuracy is undefined.")  # fmt: skip
    rows = [("all", int(effect.defined.sum()), *accuracy), *effect.by_class()]
    lines = "".join(_rates(*row, cut=bool(cut)) for row in rows[: _MOST_ROWS + 1])
    left = len(rows) - _MOST_ROWS - 1
    more = f"{left} more class{'es' * (left > 1)}." if left > 0 else ""
    after = "<th>after</th>" if cut else ""
    table = f"<table><tr><th>right</th><th>photos</th><th>before</th>{after}</tr>{lines}</table>"
    return heading(what) + table + hint(f"{moved} {more}")


def _rates(name: str, number: int, before: Interval, after: Interval, *, cut: bool) -> str:
    kind = ""
    if cut and after.value != before.value:
        kind = "pfv-up" if after.value > before.value else "pfv-down"
    title = (
        f"before {_per_cent(before.low)} to {_per_cent(before.high)}, after "
        f"{_per_cent(after.low)} to {_per_cent(after.high)} (95 % intervals)"
    )
    cells = f"<td>{_per_cent(before.value)}</td>"
    cells += f'<td class="{kind}">{_per_cent(after.value)}</td>' if cut else ""
    label = f'<td title="{safe(name)}">{safe(name, 24)}</td>'
    return f'<tr title="{title}">{label}<td>{number}</td>{cells}</tr>'


def _probabilities(effect: CutEffect, image: int, cut: bool) -> str:
    """Return the classes that are likeliest before or after, of one photo."""
    if not bool(effect.defined[image]):
        return ""
    before, after = (scores[image].softmax(0) for scores in (effect.before, effect.after))
    units = torch.maximum(before, after).argsort(descending=True)[:4].tolist()
    rows = "".join(
        f'<tr><td title="{safe(effect.classes[unit])}">{safe(effect.classes[unit], 24)}</td>'
        f"<td>{_per_cent(float(before[unit]))}</td>"
        + (f"<td>{_per_cent(float(after[unit]))}</td>" if cut else "")
        + "</tr>"
        for unit in units
    )
    head = "<th>before</th><th>after</th>" if cut else "<th>probability</th>"
    title = heading(f"Probabilities of image {image + 1}")
    return f"{title}<table><tr><th>class</th>{head}</tr>{rows}</table>"


def _confusion(effect: CutEffect, cut: bool) -> str:
    names, before, after = effect.confusion()
    columns = len(names) if before[:, -1].any() or after[:, -1].any() else len(names) - 1
    if len(names) - 1 <= _MOST_CELLS:
        head = "".join(f'<th title="{safe(name)}">{safe(name, 9)}</th>' for name in names[:columns])
        rows = "".join(
            f'<tr><td title="{safe(names[i])}">{safe(names[i], 18)}</td>'
            + "".join(_count(before[i, j], after[i, j], cut) for j in range(columns))
            + "</tr>"
            for i in range(len(names) - 1)
        )
        table = f"<table><tr><th>label</th>{head}</tr>{rows}</table>"
    else:
        cells = [
            (before[i, j], after[i, j], f"{plain(names[i], 18)} → {plain(names[j], 18)}")
            for i in range(len(names) - 1)
            for j in range(len(names))
            if i != j and before[i, j] + after[i, j]
        ]
        cells.sort(key=lambda cell: (-abs(cell[1] - cell[0]), -max(cell[:2])))
        rows = "".join(
            f'<tr><td style="width:70%" title="{safe(t)}">{safe(t)}</td>{_count(b, a, cut)}</tr>'
            for b, a, t in cells[:_MOST_ROWS]
        )
        table = f"<table>{rows}</table>" if rows else hint("No class is taken for another.")
    return heading("Confusion: label → prediction") + table


def _count(before: int, after: int, cut: bool) -> str:
    if not cut or before == after:
        return f"<td>{before or '·'}</td>"
    return f"<td><b>{before} → {after}</b></td>"


def _per_cent(value: float) -> str:
    return "undefined" if not math.isfinite(value) else f"{100 * value:.0f} %"
