"""A transfer report as one HTML file that needs neither network nor kernel."""

from __future__ import annotations

import html
import math
from pathlib import Path

from pfv_widgets.analysis.core.intervals import Interval
from pfv_widgets.analysis.transfer.class_evidence import ClassComponent, DoubtfulPhoto
from pfv_widgets.analysis.transfer.figure import draw_report
from pfv_widgets.analysis.transfer.result import LayerProbes, TransferReport
from pfv_widgets.engine.export.html_data import small_picture
from pfv_widgets.engine.export.html_template import asset, digest, escaped, filled
from pfv_widgets.engine.export.output_paths import (
    FIGURE_FORMATS,
    checked_path,
    replacing,
    write_figure,
)
from pfv_widgets.errors import PFVValueError

_HINTS = (
    "LogME and the effective rank, of variances, are no more than that. Their rank correlation "
    "with fine-tuned accuracy reaches from −.26 to .87, so the probe decides."
)
_NOT_MEASURED = (
    "what fine-tuning of more than a linear read-out would give, and how the network behaves on "
    "photos of another origin."
)
_HARD = (
    "Held out, the probe is confident of another class. Some are mislabelled, others are only "
    "hard: look at each."
)
_WEAK = 0.2  # share of the photos that a probe is wrong on: with more, it errs more than labels do
_FAR = "Far from their nearest photos in this layer: broken files, drawings, other scenes."
_DOUBTS = (
    ("Photos that look mislabelled", True, _HARD),
    ("Photos like none of the others", False, _FAR),
)
_MOST_PHOTOS = 12
_MOST_CLASSES = 24
_FEW_CLASSES = 4  # have a row each
_SIDE = 224  # pixels of a picture in the page


def checked_report_path(path: str | Path, *, replace: bool = True) -> Path:
    """Return where a report is to be written."""
    suffixes = (".html", ".htm", ".json", *FIGURE_FORMATS)
    target = checked_path(path, suffixes, "for the page, the numbers or the figure")
    if target.exists() and not replace:
        raise PFVValueError(f"path={str(path)!r} is there: give another, or --force to replace it.")
    return target


def save_report(report: TransferReport, path: str | Path) -> None:
    """Write a page, the numbers or the figure: see ``TransferReport.save``."""
    target = checked_report_path(path)
    if target.suffix.lower() in FIGURE_FORMATS:
        write_figure(target, lambda: draw_report(report))
        return
    text = report.to_json() + "\n" if target.suffix.lower() == ".json" else page_of(report)
    with replacing(target) as part:
        part.write_text(text, "utf-8")


def embedded_page(report: TransferReport) -> str:
    """Return the page in a frame of its own, for notebooks: its styles touch nothing else."""
    page = html.escape(page_of(report))
    return (
        f'<iframe title="Transfer report" sandbox srcdoc="{page}" '
        'style="width:100%;height:760px;border:1px solid rgba(128,128,128,.4)"></iframe>'
    )


def page_of(report: TransferReport) -> str:
    """Return the page. Every text from outside is escaped, and no script runs in it."""
    style = asset("pfv_widgets.analysis.transfer", "report.css")
    number = len(report.names)
    sections = (
        _layers(report), _components(report), _pairs(report), _photos(report), _method(report),
    )  # fmt: skip
    return filled(
        asset("pfv_widgets.analysis.transfer", "report.html"),
        {
            "policy": (
                f"default-src 'none'; img-src data:; style-src {digest(style)}; base-uri 'none'; "
                "form-action 'none'"
            ),
            "style": style,
            "title": f"Transfer report of {escaped(report.network)}",
            "summary": escaped(
                f"{number} photos of {len(report.classes)} classes · {len(report.layers)} layers"
            ),
            "advice": escaped(report.advice).replace(" %", "&nbsp;%"),
            "warnings": "".join(f'<p class="warning">{escaped(w)}</p>' for w in report.warnings),
            "sections": "\n".join(sections),
        },
    )


def _layers(report: TransferReport) -> str:
    rows = "\n".join(
        _layer_row(one, report.majority, best=index == report.best)
        for index, one in enumerate(report.layers)
    )
    return f"""<section><h2>What each layer tells</h2>
<p class="quiet">Share of held-out photos named right, with 95 % intervals, on an axis
from 0 to 100 %.</p>
<ul class="legend"><li>{_sample("linear")} linear probe, which decides</li>
<li>{_sample("knn")} nearest neighbours</li>
<li>{_sample("untrained")} linear probe, network untrained</li>
<li>{_sample("majority")} largest class, {100 * report.majority:.0f} %</li></ul>
<table class="layers"><thead><tr><th>Layer</th><th class="track">{_scale()}</th>
<th class="number">Linear</th>
<th class="number">Neighbours</th><th class="number">Untrained</th><th class="number">LogME</th>
<th class="number">Eff. rank</th></tr></thead><tbody>
{rows}
</tbody></table></section>"""


def _layer_row(one: LayerProbes, majority: float, *, best: bool) -> str:
    channels, height, width = one.shape
    about = f"{channels} channels, {height}&nbsp;×&nbsp;{width}"
    about += "" if one.used else "<br>the output does not depend on it"
    numbers = (
        ("Linear", _rate(one.linear)), ("Neighbours", _rate(one.knn)),
        ("Untrained", _rate(one.untrained)), ("LogME", _number(one.log_me, 2)),
        ("Eff. rank", _number(one.effective_rank, 1)),
    )  # fmt: skip
    cells = "".join(f'<td class="number" data-what="{what}">{text}</td>' for what, text in numbers)
    return (
        f'<tr{" class=best" if best else ""}><td class="name"><bdi>{escaped(one.name)}</bdi>'
        f'<br><span class="quiet">{about}</span></td>'
        f'<td class="track">{_track(one, majority)}</td>{cells}</tr>'
    )


def _track(one: LayerProbes, majority: float) -> str:
    words = f"linear {_rate(one.linear)}, neighbours {_rate(one.knn)}"
    lines = "".join(_line(x, "grid", 0, 30) for x in (0, 0.25, 0.5, 0.75, 1))
    marks = _line(majority, "majority", 0, 30) + _interval(one.linear, "linear", 7)
    marks += _interval(one.knn, "knn", 15)
    if one.untrained is not None:
        marks += _interval(one.untrained, "untrained", 23)
    return f'<svg class="track" role="img" aria-label="{escaped(words)}">{lines}{marks}</svg>'


def _scale() -> str:
    """Return the numbers above the axis of the tracks."""
    words = "".join(
        f'<text x="{share}%" y="12" text-anchor="{anchor}">{share} %</text>'
        for share, anchor in ((0, "start"), (50, "middle"), (100, "end"))
    )
    return f'<svg class="scale" role="img" aria-label="from 0 to 100 %">{words}</svg>'


def _interval(value: Interval, kind: str, y: int) -> str:
    if not math.isfinite(value.value):
        return ""
    return (
        f'<line class="{kind}" x1="{100 * value.low:.2f}%" x2="{100 * value.high:.2f}%" '
        f'y1="{y}" y2="{y}" stroke-width="2"/><circle class="{kind}" '
        f'cx="{100 * value.value:.2f}%" cy="{y}" r="3.5" stroke-width="2"/>'
    )


def _line(x: float, kind: str, top: int, bottom: int) -> str:
    return (
        f'<line class="{kind}" x1="{100 * x:.2f}%" x2="{100 * x:.2f}%" y1="{top}" y2="{bottom}"/>'
    )


def _sample(kind: str) -> str:
    marks = '<line class="majority" x1="17" x2="17" y1="0" y2="14"/>'
    if kind != "majority":
        marks = (
            f'<line class="{kind}" x1="3" x2="31" y1="7" y2="7" stroke-width="2"/>'
            f'<circle class="{kind}" cx="17" cy="7" r="3.5" stroke-width="2"/>'
        )
    return f'<svg aria-hidden="true">{marks}</svg>'


def _components(report: TransferReport) -> str:
    if not report.components:
        return ""
    labels = list(dict.fromkeys(one.label for one in report.components))[:_MOST_CLASSES]
    cards = "\n".join(_card(one, report) for one in report.components if one.label in labels)
    more = len(report.classes) - len(labels)
    rest = f" The first {len(labels)} classes of {len(report.classes)} are shown." if more else ""
    return f"""<section><h2>Components most tied to each class</h2>
<p class="quiet">Principal components of {escaped(report.layer)}. The area under the ROC curve says
how well a photo's mean score alone tells the class from the others: .5 is chance. Orange is where
the component is high, blue where it is low. A component that lies beside the object may be a
shortcut.{rest}</p>
<div class="cards{" few" if len(labels) <= _FEW_CLASSES else ""}">{cards}</div></section>"""


def _card(one: ClassComponent, report: TransferReport) -> str:
    side = "above" if one.sign > 0 else "below"
    chance = f"chance alone reaches {_decimal(one.chance)}"
    word = "" if one.auc > one.chance else ": no more than chance"
    images = "".join(
        f'<img alt="component {one.component + 1} in {escaped(report.names[photo])}" '
        f'src="{small_picture(pixels, _SIDE)}">'
        for photo, pixels in zip(one.photos, one.pictures, strict=True)
    )
    return (
        f'<div class="card"><h3><bdi>{escaped(one.label)}</bdi>: component {one.component + 1}, '
        f'{side} the others</h3><div class="strip">{images}</div>'
        f'<p class="quiet">Area {_decimal(one.auc)} ({chance}{word})</p></div>'
    )


def _pairs(report: TransferReport) -> str:
    heading = "<section><h2>Classes that are confused</h2>"
    if not report.confused:
        return f"{heading}<p>None: the probe names every held-out photo right.</p></section>"
    rows = "\n".join(
        f'<tr><td class="name"><bdi>{escaped(one.first)}</bdi> and '
        f'<bdi>{escaped(one.second)}</bdi></td><td class="number" data-what="One called the other">'
        f'{one.mistaken} of {one.photos}</td><td class="number" data-what="Right, of these two">'
        f"{_rate(one.accuracy)}</td>"
        f"<td>{'told apart' if one.is_distinguishable else 'not told apart'}</td></tr>"
        for one in report.confused
    )
    return f"""{heading}<p class="quiet">By the probe at {escaped(report.layer)}, the worst first.
Where the interval reaches down to the share of the larger class, the network does not tell the two
apart.</p><table class="pairs"><thead><tr><th>Classes</th><th class="number">One called the
other</th><th class="number">Right, of these two</th><th></th></tr></thead>
<tbody>{rows}</tbody></table></section>"""


def _photos(report: TransferReport) -> str:
    parts = []
    for title, labelled, words in _DOUBTS:
        photos = [one for one in report.doubtful if bool(one.looks_like) == labelled]
        figures = "".join(_doubtful(one, report) for one in photos[:_MOST_PHOTOS])
        more = len(photos) - _MOST_PHOTOS
        rest = f" The first {_MOST_PHOTOS} of {len(photos)}." if more > 0 else ""
        wrong = 1 - report.layers[report.best].linear.value
        if labelled and wrong > _WEAK:
            rest = (
                f" The probe is wrong on {100 * wrong:.0f}&nbsp;% of all photos, so that most of "
                f"these will be its own errors.{rest}"
            )
        body = f'<p class="quiet">{words}{rest}</p><div class="photos">{figures}</div>'
        parts.append(f"<section><h2>{title}</h2>{body if photos else '<p>None.</p>'}</section>")
    return "\n".join(parts)


def _doubtful(one: DoubtfulPhoto, report: TransferReport) -> str:
    remark = f"{one.strength:.1f} times the usual distance"
    if one.looks_like:
        likely = f"{100 * one.strength:.0f}&nbsp;%"
        remark = f"looks like <bdi>{escaped(one.looks_like)}</bdi> ({likely})"
    source = small_picture(report.thumbnails[one.photo], _SIDE)
    return (
        f'<figure><img alt="{escaped(one.name)}" src="{source}">'
        f"<figcaption><bdi>{escaped(one.name)}</bdi><br>labelled <b><bdi>{escaped(one.label)}</bdi>"
        f"</b>, {remark}</figcaption></figure>"
    )


def _method(report: TransferReport) -> str:
    counts = ", ".join(f"{label}: {count}" for label, count in report.classes.items())
    facts: tuple[tuple[str, str], ...] = (
        ("Photos", counts),
        ("Features", "maps of a layer averaged over their positions"),
        ("Linear probe", "logistic regression on standardised features (scikit-learn)"),
        ("Held out", "each photo once, in up to five stratified folds"),
        ("Intervals", "Wilson's, over photos; paired ones after Agresti and Min (2005)"),
        ("Untrained", "the same network with weights drawn anew as its modules draw them"),
        ("Hints", _HINTS),
        ("Not measured", _NOT_MEASURED),
    )
    rows = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(text)}</dd>" for name, text in facts)
    return f"<section><h2>How this was made</h2><dl>{rows}</dl></section>"


def _rate(value: Interval | None) -> str:
    if value is None or not math.isfinite(value.value):
        return "–"
    return f"{100 * value.value:.0f} % ({100 * value.low:.0f}–{100 * value.high:.0f})"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else "undefined"


def _decimal(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 1 else "1.00"
