"""One setting varied, picture by picture, beside whatever an explorer shows of the same engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.nn.functional import interpolate

from pfv_widgets.engine.colouring.colour_memory import ColourMemory, arranged_scores
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.export.animation import ANIMATIONS, Animation, checked_animation
from pfv_widgets.engine.export.sweep_plan import SWEEPS, Step, planned
from pfv_widgets.engine.pipeline.capture_ahead import capture_ahead
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings, settings_of
from pfv_widgets.engine.progress import Cancelled, OnProgress, Progress
from pfv_widgets.errors import PFVError, PFVValueError
from pfv_widgets.validation import function_or_none, whole_number

_NEW_LAYER = 2  # steps for a layer's first pass; the network runs once for many layers
_COMPARED = 28  # positions along a side on which the layers' maps are compared
_ALIKE = 0.2  # correlation from which a component is taken to follow another one

Ways = tuple[list[Settings], list[Settings]]  # settings of later and of earlier layers


@dataclass(frozen=True, eq=False)
class SweepFrame:
    """One picture of a sweep."""

    caption: str  # what is varied and its value, such as ``"4 components"``
    frame: Frame | None  # the picture, or None where this value gives none
    problem: str = ""  # why it gives none, in words


def sweep(
    pfv: PFV,
    settings: Settings | None = None,
    over: str = "components",
    values: Sequence[object] | None = None,
    *,
    label: str | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[SweepFrame]:
    """Render the batch for each value of one setting, all else as in ``settings``.

    Colours stay those that ``pfv`` showed before, and what it shows afterwards is as if there
    had been no sweep. From layer to layer a component takes the colour and sign of the one
    that it resembles most (correlation of the maps), as far as ``settings.stable_colours``.

    Parameters
    ----------
    over
        ``"components"``: the first, the first two, …; ``"layer"``: all distinct ones in forward
        order; ``"class weight"``: of the images with ``label``, from 0 to 2; ``"sigma"``.
    values
        Those to show instead of the usual ones: numbers, or names of layers.
    label
        The class whose weight is varied.
    cancelled
        Asked before each picture and each chunk of a forward pass; True ends the sweep.

    Raises
    ------
    PFVValueError, PFVTypeError
        At once for what cannot be swept at all; a value that gives no picture comes as a
        :class:`SweepFrame` with its problem.
    """
    on_show, steps = settings_of(settings, {}), planned(pfv, settings, over, values, label)
    ways = _ways(pfv, steps, on_show)
    return _pictures(pfv, steps, ways, on_show, cancelled=cancelled or (lambda: False))


def _ways(pfv: PFV, plan: Sequence[Step], on_show: Settings) -> Ways:
    """Return in which order other layers take colours over, from the one on show: up and down.

    None do where all pictures are of the layer on show, or colours are not to be stable.
    """
    names = [layer.name for layer in pfv.layers]
    own = pfv.layer(on_show.layer).name
    start = names.index(own)
    if not on_show.stable_colours or all(pfv.layer(one.layer).name == own for _, one in plan):
        return [], []
    steps = sorted((one for _, one in plan), key=lambda one: names.index(one.layer or ""))
    later = [one for one in steps if names.index(one.layer or "") > start]
    earlier = [one for one in reversed(steps) if names.index(one.layer or "") < start]
    return later, earlier


def _pictures(
    pfv: PFV,
    plan: Sequence[Step],
    ways: Ways,
    on_show: Settings,
    *,
    cancelled: Callable[[], bool],
    matched: Callable[[int], None] = lambda _: None,
) -> Iterator[SweepFrame]:
    def ask(_: Progress) -> None:
        if cancelled():
            raise Cancelled

    try:
        colours = pfv.colours
        if any(ways):
            colours = _aligned(pfv, ways, on_show, ask, matched)
        for done, (caption, settings) in enumerate(plan):
            if cancelled():
                return
            try:
                _capture_ahead(pfv, [one for _, one in plan[done:]], ask)
                frame, colours = pfv.render_with(colours, settings, on_progress=ask)
            except PFVError as error:
                yield SweepFrame(caption, None, str(error))
            else:
                yield SweepFrame(caption, frame)
    except Cancelled:
        return


def _aligned(
    pfv: PFV, ways: Ways, on_show: Settings, on_progress: OnProgress, matched: Callable[[int], None]
) -> ColourMemory:
    """Return a memory in which the components of each layer follow those of its neighbour.

    It begins with the layer on show, whose colours stay, and goes on to the later layers and
    to the earlier ones. ``matched`` is called after each of them.
    """
    tiny = (1, 1)  # the scores are what is compared, and they have the size of the layer
    first, colours = pfv.render_with(pfv.colours, on_show, size=tiny, on_progress=on_progress)
    for way in ways:
        before = first.scores
        for done, settings in enumerate(way):
            with suppress(PFVError):  # it is reported when this layer is rendered
                _capture_ahead(pfv, way[done:], on_progress)
                frame, _ = pfv.render_with(colours, settings, size=tiny, on_progress=on_progress)
                keep = bool(settings.channels)
                arrangement = arrangement_like(frame.scores, before, keep_order=keep)
                basis = frame.basis.arranged(arrangement)
                colours = colours.with_basis(pfv.store.key_of(frame.layer), basis)
                before = arranged_scores(frame.scores, frame.basis, arrangement)
            matched(_NEW_LAYER)
    return colours


def _capture_ahead(pfv: PFV, plan: Sequence[Settings], on_progress: OnProgress) -> None:
    """Run the network once for the next layers, rather than for each."""
    with suppress(PFVError), pfv.store.reporting(on_progress), own_modes():
        capture_ahead(pfv.store, [one.layer or "" for one in plan])


def arrangement_like(
    scores: Tensor, others: Tensor, *, keep_order: bool = False
) -> tuple[int, ...]:
    """Signed numbers from 1 that put components beside those which they correlate with most.

    Of scores ``(N, k, h, w)`` of the same images, each with its own grid; ``keep_order`` chooses
    signs alone.
    """
    ours, theirs = (_comparable(one) for one in (scores, others))
    number = len(ours)
    alike = ours @ theirs.T  # (k, k'): ours in rows
    slots: dict[int, int] = {slot: slot for slot in range(number)} if keep_order else {}
    for flat in [] if keep_order else alike.abs().flatten().argsort(descending=True).tolist():
        own, slot = divmod(flat, alike.shape[1])
        free = slot < number and slot not in slots and own not in slots.values()
        if free and abs(float(alike[own, slot])) > _ALIKE:
            slots[slot] = own
    rest = [own for own in range(number) if own not in slots.values()]
    order = [slots[slot] if slot in slots else rest.pop(0) for slot in range(number)]
    flipped = [p < alike.shape[1] and float(alike[own, p]) < 0 for p, own in enumerate(order)]
    return tuple(-(own + 1) if flip else own + 1 for own, flip in zip(order, flipped, strict=True))


def _comparable(scores: Tensor) -> Tensor:
    """Rows ``(k, …)`` of unit length and mean zero on a common grid."""
    maps = interpolate(scores.float(), (_COMPARED, _COMPARED), mode="bilinear", antialias=True)
    rows = maps.transpose(0, 1).flatten(1).cpu()
    rows = rows - rows.mean(dim=1, keepdim=True)
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return unit


@dataclass(frozen=True)
class SavedSweep:
    """What :func:`save_sweep` wrote."""

    path: Path  # the file
    pictures: int  # how many it holds
    skipped: tuple[str, ...]  # ``"caption: why"`` of each value that gave no picture


def save_sweep(
    pfv: PFV,
    path: str | Path,
    over: str = "components",
    settings: Settings | None = None,
    *,
    values: Sequence[object] | None = None,
    label: str | None = None,
    duration: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SavedSweep | None:
    """Write a :func:`sweep` as an animation that loops: ``.gif``, ``.webp`` or ``.mp4``.

    Each picture has a bar that says what is varied. About 900 pixels wide, smaller where there
    are very many pictures.

    Parameters
    ----------
    duration
        Milliseconds that a picture stays; None: what suits ``over``. The first and the last
        stay longer.
    progress
        Called as ``progress(done, all)`` after each picture, and last after the writing; where
        colours are carried over to other layers, before that for each layer, as so many steps.
    cancelled
        Asked between pictures; True ends it, nothing is written and None comes back.

    Raises
    ------
    PFVValueError, PFVTypeError
        For what cannot be swept, where no value gives a picture, for a path that cannot be
        written, and for ``.mp4`` without an ``ffmpeg`` program.
    """
    target = checked_animation(path)
    function_or_none("progress", progress, "a function of (done, all)")
    function_or_none("cancelled", cancelled)
    steps = planned(pfv, settings, over, values, label)
    stays = _checked_duration(duration) or SWEEPS[over].duration
    stop = cancelled or (lambda: False)
    on_show = settings_of(settings, {})
    ways = _ways(pfv, steps, on_show)
    step = _counter(progress, _NEW_LAYER * sum(map(len, ways)) + len(steps) + 1)
    animation, skipped = Animation(len(steps), ANIMATIONS[target.suffix.lower()].most), []
    pictures = _pictures(pfv, steps, ways, on_show, cancelled=stop, matched=step)
    for done, one in enumerate(pictures, start=1):
        if one.frame is None:
            skipped.append(f"{one.caption}: {one.problem}")
        else:
            animation.add(one.frame.composite(), one.caption, done)
        step(1)
    if stop():
        return None
    if not animation.pictures:
        raise PFVValueError(f"over={over!r}: no value gives a picture. {skipped[0]}")
    if not animation.write(target, stays, stop):
        return None
    step(1)
    return SavedSweep(target, len(animation.pictures), tuple(skipped))


def _counter(progress: Callable[[int, int], None] | None, of: int) -> Callable[[int], None]:
    """Return what counts more steps of all, and says so."""
    done = 0

    def step(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, of)

    return step


def _checked_duration(duration: object) -> int | None:
    legal = "milliseconds from 20 to 60000, or None"
    return None if duration is None else whole_number("duration", duration, 20, 60_000, legal)
