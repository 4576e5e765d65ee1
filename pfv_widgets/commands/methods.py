"""``pfv-widgets methods``: one figure of what several attribution methods say of your photos."""

from __future__ import annotations

import argparse

from pfv_widgets.commands.options import add_inputs, add_output, load_photos, progress_bar, say
from pfv_widgets.errors import PFVValueError

OPTIONS = {"path": "--out", "method": "--methods"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``methods``; every method of the registry can be named."""
    from pfv_widgets.engine.export.output_paths import FIGURE_FORMATS
    from pfv_widgets.methods.comparison.compared_methods import names

    add_inputs(parser)
    parser.add_argument(
        "--methods", nargs="+", choices=names(), metavar="METHOD",
        help=f"some of {', '.join(names())} (default: those of the figure of Grün et al.)",
    )  # fmt: skip
    parser.add_argument("--layer", help="layer whose unit is explained (default: the output)")
    parser.add_argument("--unit", type=int, help="its index (default: the strongest of each photo)")
    add_output(parser, "methods.png", f"the figure ({' '.join(FIGURE_FORMATS)})")


def run(options: argparse.Namespace) -> int:
    """Load, explain, draw."""
    from pfv_widgets.engine.export.output_paths import FIGURE_FORMATS, checked_path, write_figure
    from pfv_widgets.engine.network.load_model import load_model
    from pfv_widgets.methods.comparison.figures import figure_methods

    path = checked_path(options.out, FIGURE_FORMATS, "for a figure")  # before it is computed
    if path.exists() and not options.force:
        raise PFVValueError(f"path={str(path)!r}: it is there; give another, or --force.")
    model = load_model(options.model, options.weights)
    images = load_photos(options, model)
    with progress_bar(options) as bar:

        def show(done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        chosen = {} if options.methods is None else {"methods": options.methods}
        figure = figure_methods(
            model, images, **chosen, layer=options.layer, unit=options.unit,
            device=options.device, progress=show,
        )  # fmt: skip
    write_figure(path, lambda: figure)
    say(options, f"Wrote {path}", images)
    return 0
