"""What may stand in a row of a comparison: every method, and PFV as one among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.methods.attribution.registry import METHODS
from pfv_widgets.methods.attribution.runner import method_of
from pfv_widgets.methods.core.method import Method
from pfv_widgets.parameters import suggestion, validate

PFV_NAME = "pfv"  # its place among the names of METHODS


def _as_in_settings(name: str) -> Any:
    declared = next(one for one in dataclasses.fields(Settings) if one.name == name)
    return dataclasses.field(default=declared.default, metadata=declared.metadata)


@dataclass(frozen=True)
class PrincipalFeatures:
    """PFV as one of the methods: of the target's layer, or the last with maps before the output.

    It looks at all images of one network together and knows of no unit.
    """

    components: int = _as_in_settings("components")
    weighting: str = _as_in_settings("weighting")
    sigma: float = _as_in_settings("sigma")

    label: ClassVar[str] = "PFV"

    def __post_init__(self) -> None:
        validate(self)


Explainer = Method | PrincipalFeatures


def explainer_of(method: object) -> tuple[str, Explainer]:
    """Return the name and the instance of a method, PFV among them.

    Raises
    ------
    PFVValueError, PFVTypeError
        For anything but a name in ``pfv_widgets.methods.METHODS``, ``"pfv"``, or an instance of
        one of them.
    """
    if isinstance(method, PrincipalFeatures):
        return PFV_NAME, method
    if method == PFV_NAME:
        return PFV_NAME, PrincipalFeatures()
    if isinstance(method, str) and method not in METHODS:
        raise PFVValueError(f"method={method!r} is unknown. {suggestion(method, names())}")
    return method_of(method, {})  # type: ignore[arg-type] # it checks the type


def explainers(methods: object) -> dict[str, Explainer]:
    """Return methods by name, in order.

    Raises
    ------
    PFVValueError, PFVTypeError
        For what is no list of methods, or a method that comes twice.
    """
    given = [methods] if isinstance(methods, str | Method | PrincipalFeatures) else methods
    if not isinstance(given, Iterable):
        raise PFVTypeError(f"methods={methods!r:.60}: expected a list of names of methods.")
    found: dict[str, Explainer] = {}
    for name, instance in map(explainer_of, given):
        if name in found:
            raise PFVValueError(f"methods has {name!r} twice: leave one out.")
        found[name] = instance
    return found


def names() -> list[str]:
    """Names of all methods, PFV first."""
    return [PFV_NAME, *METHODS]
