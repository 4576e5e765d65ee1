"""What a comparison compares: every method, and PFV as one among them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.methods.attribution.registry import METHODS
from pfv_widgets.methods.attribution.runner import method_of
from pfv_widgets.methods.core.method import Method
from pfv_widgets.parameters import in_words, suggestion, validate

_USUAL = (224, 224)  # height and width of an image: details depend on it, their differences do not
PFV_NAME = "pfv"  # beside the names of METHODS


def _as_in_settings(name: str) -> Any:
    declared = next(one for one in dataclasses.fields(Settings) if one.name == name)
    return dataclasses.field(default=declared.default, metadata=declared.metadata)


@dataclass(frozen=True)
class PrincipalFeatures:
    """PFV as one of the methods: of the target's layer, or the last with maps before the output.

    It takes all images of one network together, and no unit.
    """

    components: int = _as_in_settings("components")
    weighting: str = _as_in_settings("weighting")
    sigma: float = _as_in_settings("sigma")

    label, caution, evidence = "PFV", "", ""
    usual = True

    def __post_init__(self) -> None:
        validate(self)

    def details(self, size: tuple[int, int]) -> tuple[str, ...]:  # noqa: ARG002 - of every method
        """Return the options in words, as every method does."""
        about = "principal components as colours, common to all images of a network"
        return (about, *in_words(self, ("components", "weighting", "sigma")))


Explainer = Method | PrincipalFeatures


def explainer_of(method: object) -> tuple[str, Explainer]:
    """Return the name and the instance of a method, PFV among them.

    Raises
    ------
    PFVValueError, PFVTypeError
        For anything but a name in ``pfv_widgets.METHODS``, ``"pfv"``, an instance of one
        of them, or a name with options: ``{"method": "smoothgrad", "samples": 3}``.
    """
    if isinstance(method, PrincipalFeatures):
        return PFV_NAME, method
    if isinstance(method, Mapping):
        return _with_options(method)
    if isinstance(method, str) and method == PFV_NAME:
        return PFV_NAME, PrincipalFeatures()
    if isinstance(method, str) and method not in METHODS:
        raise PFVValueError(f"method={method!r} is unknown. {suggestion(method, names())}")
    return method_of(method, {})  # type: ignore[arg-type] # it checks the type


def _with_options(mapping: Mapping[Any, Any]) -> tuple[str, Explainer]:
    options = {str(name): value for name, value in mapping.items() if name != "method"}
    name, plain = explainer_of(mapping.get("method"))
    legal = [field.name for field in dataclasses.fields(plain)]
    for option in options:
        if option not in legal:
            raise PFVTypeError(f"{name!r} has no option {option!r}. {suggestion(option, legal)}")
    return name, dataclasses.replace(plain, **options)


def name_of(method: Explainer) -> str:
    """Name of a method in ``pfv_widgets.METHODS``, or ``"pfv"``."""
    return explainer_of(method)[0]


def explainers(methods: object) -> tuple[Explainer, ...]:
    """Return methods in order; one method may come with several settings."""
    several = (
        [methods] if isinstance(methods, str | Mapping | Method | PrincipalFeatures) else methods
    )
    if not isinstance(several, Iterable) or getattr(several, "ndim", 1) == 0:
        raise PFVTypeError(f"methods={methods!r:.60}: expected a list of names of methods.")
    instances: list[Explainer] = []
    for name, instance in map(explainer_of, several):
        if instance in instances:
            raise PFVValueError(
                f"methods has {name!r} twice with the same options: leave one out, or give one of "
                "them other options."
            )
        instances.append(instance)
    return tuple(instances)


def names() -> list[str]:
    """Names of all methods, PFV first."""
    return [PFV_NAME, *METHODS]


def labels(methods: Sequence[Explainer]) -> list[str]:
    """Label each method; settings of one method with the options in which they differ.

    >>> from pfv_widgets.methods.lrp.relevance import Relevance
    >>> labels([Relevance(rule="gamma"), Relevance(rule="z-plus")])
    ['Relevance propagation, rule gamma', 'Relevance propagation, rule z-plus']
    """
    return _labelled(methods, [method.label for method in methods], ", ", in_words)


def file_keys(methods: Sequence[Explainer]) -> list[str]:
    """Name each method for a file, with the options that differ between settings of one method."""

    def assigned(method: Explainer, differing: Sequence[str]) -> list[str]:
        return [f"{name}={getattr(method, name)}" for name in differing]

    return _labelled(methods, [name_of(method) for method in methods], " ", assigned)


def _labelled(
    methods: Sequence[Explainer], bases: Sequence[str], joint: str, describe: Any
) -> list[str]:
    often = Counter(bases)
    labelled = []
    for method, base in zip(methods, bases, strict=True):
        if often[base] == 1:
            labelled.append(base)
            continue
        same = [other for other in methods if type(other) is type(method)]
        labelled.append(joint.join([base, *describe(method, _differing(method, same))]))
    return labelled


def _differing(method: Explainer, same: Sequence[Explainer]) -> list[str]:
    """Name the options in which settings of one method differ, and which have an effect here.

    Where these alone do not tell the method from the others, all that differ.
    """
    names = [
        field.name
        for field in dataclasses.fields(method)
        if len({repr(getattr(one, field.name)) for one in same}) > 1
    ]
    effective = [name for name in names if any(_matters(method, name, one) for one in same)]
    own = [getattr(method, name) for name in effective]
    alike = [one for one in same if [getattr(one, name) for name in effective] == own]
    return effective if len(alike) == 1 else names


def _matters(method: Explainer, name: str, other: Explainer) -> bool:
    """Whether the value that another one has of an option would change what ``method`` does."""
    try:
        changed = dataclasses.replace(method, **{name: getattr(other, name)})
        return changed.details(_USUAL) != method.details(_USUAL)
    except PFVError:  # the value does not go with the other options
        return True
