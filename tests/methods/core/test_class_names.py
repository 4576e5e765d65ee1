"""Names of units in every form that people have them in; wrong ones are named errors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.methods.core.class_names import (
    class_names,
    classes_by_network,
    names_of,
    names_that_fit,
    unit_named,
)


@pytest.mark.parametrize(
    "classes",
    [
        ["cat", "dog"],
        ("cat", "dog"),
        np.array(["cat", "dog"]),
        {0: "cat", 1: "dog"},
        {"0": "cat", "1": "dog"},
        {np.int64(0): "cat", np.int64(1): "dog"},
        {"0": ["n02", "cat"], "1": ["n03", "dog"]},
        {"cat": 0, "dog": 1},
        {"cat": np.int64(0), "dog": np.int64(1)},
    ],
)
def test_names_come_in_many_forms(classes: Any) -> None:
    assert class_names(classes) == {0: "cat", 1: "dog"}


def test_none_and_imagenet_are_names_too() -> None:
    assert class_names(None) == {}
    assert class_names(["a", 3]) == {0: "a", 1: "3"}
    assert class_names(["a", "b"], 2) == {0: "a", 1: "b"}
    assert class_names({1: "b"}, 2) == {1: "b"}
    assert class_names(None, 2) == class_names({}, 2) == {}
    assert class_names("imagenet")[14] == "indigo bunting"


@pytest.mark.parametrize(
    ("classes", "error", "match"),
    [
        (3, PFVTypeError, "classes=3: expected a list of names"),
        ("cifar", PFVValueError, "classes='cifar': expected .* 'imagenet'"),
        (np.array(3), PFVTypeError, "classes=3: expected"),
        ({"cat": "Katze"}, PFVTypeError, "classes has the unit 'cat'"),
        ({1.5: "cat"}, PFVTypeError, "classes has the unit 1.5"),
        ({True: "cat"}, PFVTypeError, "classes has the unit True"),
        ({-1: "cat"}, PFVValueError, "classes has the unit -1: units count from 0"),
        ([["cat"], ["dog"]], PFVTypeError, r"unit 0 has the name \['cat'\], which is no text"),
        (b"cat", PFVTypeError, "classes=b'cat'"),
        ({"cat", "dog"}, PFVTypeError, "classes={"),
    ],
)
def test_other_classes_are_named_errors(classes: Any, error: type[PFVError], match: str) -> None:
    with pytest.raises(error, match=match):
        class_names(classes)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ("imagenet", "'imagenet' has 1000 names, and the network's output 2 units"),
        (["a", "b", "c"], "the list has 3 names"),
        (["a"], "the list has 1 name,"),
        ([], "the list has 0 names"),
        ({0: "a", 2: "c"}, "unit 2 has a name"),
    ],
)
def test_names_that_do_not_fit_the_output_are_refused(classes: object, words: str) -> None:
    with pytest.raises(PFVValueError, match=rf"classes: {words}.*Give a name for each"):
        class_names(classes, 2)


def test_each_network_may_have_names_of_its_own() -> None:
    both = {"a": ["cat"], "b": {"0": "dog"}}
    assert classes_by_network(both, ["a", "b"]) == both
    array = np.array(["cat"])
    assert classes_by_network({"a": array}, ["a", "b"]) == {"a": array, "b": None}
    for for_all in (["cat"], {"cat": 0}, {"0": ["n02", "cat"]}, "imagenet", None):
        assert classes_by_network(for_all, ["a", "b"]) == {"a": for_all, "b": for_all}
    assert classes_by_network({"a": "imagenet"}, ["a"]) == {"a": "imagenet"}
    with pytest.raises(PFVValueError, match="'aa' is neither a unit nor the name of a network"):
        classes_by_network({"aa": ["cat"]}, ["a", "b"])


def test_names_are_those_of_the_output_that_they_fit() -> None:
    assert (
        names_that_fit(["a", "b"], [3, 2, 5]) == names_that_fit(["a", "b"], [0]) == {0: "a", 1: "b"}
    )
    with pytest.raises(PFVValueError, match="the list has 1 name, and the network's output 5"):
        names_that_fit(["a"], [3, 2, 5])


def test_a_unit_is_known_by_its_name() -> None:
    assert unit_named("dog", {0: "cat", 3: "dog"}) == 3
    with pytest.raises(PFVValueError, match=r"unit='dgo' is none of the classes.*'dog'"):
        unit_named("dgo", {0: "cat", 3: "dog"})
    with pytest.raises(PFVValueError, match=r"unit='crane': units \[1, 2\] have that name"):
        unit_named("crane", {1: "crane", 2: "crane"})
    with pytest.raises(PFVValueError, match=r"unit='dog': the units have no names. Give classes="):
        unit_named("dog", {})


def test_a_tensor_of_numbers_names_by_them() -> None:
    assert class_names(torch.tensor([7, 8])) == {0: "7", 1: "8"}


def test_names_that_a_network_has_are_left_out_where_they_do_not_fit_its_output() -> None:
    network = SimpleNamespace(classes=["a", "b", "c"])
    assert class_names(names_of(network, None)) == {0: "a", 1: "b", 2: "c"}
    assert class_names(names_of(network, None), 3) == {0: "a", 1: "b", 2: "c"}
    assert class_names(names_of(network, None), 2) == {}
    assert class_names(names_of(network, ["x", "y"]), 2) == {0: "x", 1: "y"}
