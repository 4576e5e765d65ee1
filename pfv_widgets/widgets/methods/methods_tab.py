"""The tab "Methods" of a grid: target, methods and their options, look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import ipywidgets as w

from pfv_widgets.methods.comparison.compared_methods import (
    Explainer,
    explainer_of,
    labels,
    name_of,
    names,
)
from pfv_widgets.methods.comparison.comparison import Comparison
from pfv_widgets.methods.core.class_names import ClassNames
from pfv_widgets.parameters import parameters_of
from pfv_widgets.widgets.methods.settings import MethodsSettings
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import Controls, Watched, close_all, drop_down
from pfv_widgets.widgets.toolkit.protocols import Explorer
from pfv_widgets.widgets.toolkit.tooltips import Checkbox

LOOK = ("scale", "view", "opacity", "across")
_LABEL = "84px"
_ROOM = "112px"  # for the names of options, which are longer than ours
_COLUMNS = {  # as many as there is room for
    "display": "grid", "grid_template_columns": "repeat(auto-fill, minmax(190px, 1fr))",
    "width": "100%", "overflow": "hidden",
}  # fmt: skip


class ComparingExplorer(Explorer[MethodsSettings], Protocol):
    """An explorer that compares methods."""

    comparison: Comparison


class MethodsTab:
    """Controls of a grid of methods."""

    visible = True

    def __init__(self, explorer: ComparingExplorer) -> None:
        edit, settings = explorer.edit, explorer.settings
        self._comparison, self._edit = explorer.comparison, edit
        self._watched = Watched()
        # options of a method that is switched off stay as they were; one may have several settings
        self._known: dict[str, tuple[Explainer, ...]] = {
            name: (explainer_of(name)[1],) for name in names()
        }
        self._rows: dict[str, Explainer] = {}  # the rows by name, numbered where one comes again
        self.layer = self._dropdown(
            "Layer", "What is explained: the network's output, or a layer inside.", "layer"
        )
        self.output = self._dropdown("Output", "Which of the network's outputs.", "output")
        self.unit = self._dropdown(
            "Unit", "Which class or channel: the strongest of each image, or one for all.", "unit"
        )
        self.methods = {name: self._checkbox(name) for name in names()}
        tip = "The method whose options are shown below."
        self.menu = drop_down("Options of", tip, label_width=_LABEL)
        self.menu.observe(lambda _: self._open_options(), "value")
        self.options: Controls | None = None
        self._options_of: str | None = None
        self.options_box = w.VBox(layout=w.Layout(width="100%", overflow="hidden"))
        self.look = Controls(
            settings,
            LOOK,
            lambda name, value: edit(lambda old: replace(old, **{name: value})),
            _LABEL,
        )
        self._layers = self._layer_options()
        self.widget = self._laid_out()
        self.show(settings)

    def show(self, settings: MethodsSettings) -> None:
        """Set every control to what ``settings`` say, without calling back."""
        self._show_target(settings)
        groups = _by_name(settings.methods)
        self._known |= {name: tuple(several) for name, several in groups.items()}
        for name, box in self.methods.items():
            self._watched.show(box, name in groups)
        self._rows = {}
        for method in settings.methods:
            number = groups[name_of(method)].index(method)
            self._rows[name_of(method) + (f" {number + 1}" if number else "")] = method
        named = zip(self._rows.items(), labels(settings.methods), strict=True)
        options = [(label, key) for (key, one), label in named if parameters_of(one)]
        having = [key for _, key in options]
        if self.menu.options != tuple(options):
            before = self.menu.value
            self.menu.options = options
            self.menu.value = before if before in having else next(iter(having), None)
        self.look.show(settings)
        self.look["opacity"].disabled = settings.view != "overlay"
        self._open_options()

    def close(self) -> None:
        """Close every control."""
        close_all(self.widget)

    def _show_target(self, settings: MethodsSettings) -> None:
        outputs = dict.fromkeys(
            name for network in self._comparison.networks for name in network.outputs
        )
        self._set(self.layer, self._layers, settings.layer)
        choices = [("the only one" if one is None else text.plain(one), one) for one in outputs]
        self._set(self.output, choices, settings.output)
        inside = settings.layer is not None
        self.output.layout.display = "none" if len(outputs) < 2 or inside else None
        self._set(self.unit, self._unit_options(settings), settings.unit)

    def _set(self, control: w.Dropdown, options: list[tuple[str, Any]], value: Any) -> None:
        """Show a value; one that is not among the options comes last.

        Values are wrapped: to ipywidgets, None means that nothing is chosen.
        """
        if all(value != one for _, one in options):
            options = [*options, (text.plain(value), value)]
        wrapped = tuple((label, (one,)) for label, one in options)
        if control.options != wrapped:
            self._watched.offer(control, wrapped)
        self._watched.show(control, (value,))

    def _unit_options(self, settings: MethodsSettings) -> list[tuple[str, Any]]:
        networks = self._comparison.networks
        if settings.layer is None:
            counts = [network.outputs.get(settings.output, 0) for network in networks]
            several = [network.classes for network in networks]
            named: ClassNames = several[0] if all(one == several[0] for one in several) else {}
        else:
            counts = [network.layers.get(settings.layer, 0) for network in networks]
            named = {}
        units = [
            (f"{unit} · {text.plain(named[unit], 30)}" if unit in named else str(unit), unit)
            for unit in range(max(counts, default=0))
        ]
        return [("the strongest", None), *units]

    def _layer_options(self) -> list[tuple[str, Any]]:
        """Return all layers; of several networks, with whose each one is."""
        networks = self._comparison.networks
        found: list[tuple[str, Any]] = [("Output", None)]
        for name in dict.fromkeys(name for network in networks for name in network.layers):
            having = [network.name for network in networks if name in network.layers]
            whose = "" if len(having) == len(networks) else f" ({', '.join(having)} only)"
            found.append((text.plain(f"{name}{whose}", 60), name))
        return found

    def _dropdown(self, label: str, help_: str, field: str) -> w.Dropdown:
        control = drop_down(label, help_, label_width=_LABEL)
        self._watched.watch(control, partial(self._chose, field))
        return control

    def _chose(self, field: str, option: tuple[Any] | None) -> None:
        if option is None:
            return
        (value,) = option
        # a unit of one layer says nothing about another, and only the network has outputs
        fresh: dict[str, Any] = {} if field == "unit" else {"unit": None}
        if field == "layer":
            fresh["output"] = None if value is not None else self._comparison.first_output
        self._edit(lambda old: replace(old, **{**fresh, field: value}))

    def _checkbox(self, name: str) -> w.Checkbox:
        label = self._known[name][0].label
        box = Checkbox(
            description=label, indent=False, tooltip=f"Show a row for {label}.",
            layout=w.Layout(width="auto", margin="0"),
        )  # fmt: skip
        self._watched.watch(box, partial(self._switched, name))
        return box

    def _switched(self, name: str, is_on: bool) -> None:
        def change(old: MethodsSettings) -> MethodsSettings:
            groups = {one: tuple(several) for one, several in _by_name(old.methods).items()}
            groups[name] = self._known[name] if is_on else ()
            ordered = [method for one in names() for method in groups.get(one, ())]
            return replace(old, methods=tuple(ordered))

        self._edit(change)

    def _open_options(self) -> None:
        """Show the controls of the method that is chosen, set to what it has."""
        name = self.menu.value
        if name == self._options_of and self.options is not None:
            self.options.show(self._rows[name])
            return
        before, self._options_of = self.options_box.children, name
        self.options = None
        if name is not None:
            method = self._rows[name]
            self.options = Controls(
                method, parameters_of(method), lambda field, value: self._option(name, field, value)
            )
        controls = [] if self.options is None else [*self.options.by_name.values()]
        for control in controls:
            control.style.description_width = _ROOM
        self.options_box.children = controls
        for control in before:
            close_all(control)

    def _option(self, name: str, field: str, value: Any) -> None:
        row = self._rows[name]

        def change(old: MethodsSettings) -> MethodsSettings:
            methods: list[Any] = [
                replace(one, **{field: value}) if one == row else one for one in old.methods
            ]
            return replace(old, methods=tuple(methods))

        self._edit(change)

    def _laid_out(self) -> w.VBox:
        return w.VBox(
            [
                w.HTML(text.heading("What is explained")), self.layer, self.output, self.unit,
                w.HTML(text.heading("Picture")), *(self.look[name] for name in LOOK),
                w.HTML(text.heading("Methods")), w.Box([*self.methods.values()], layout=_COLUMNS),
                self.menu, self.options_box,
            ],
            layout=w.Layout(width="100%", overflow="hidden"),
        )  # fmt: skip


def _by_name(methods: Iterable[Explainer]) -> dict[str, list[Explainer]]:
    """Return the settings of each method by its name."""
    groups: dict[str, list[Explainer]] = {}
    for method in methods:
        groups.setdefault(name_of(method), []).append(method)
    return groups
