from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pfv_widgets.engine.colouring.colour_filter import COLOUR_FILTERS
from pfv_widgets.engine.colouring.colour_maps import COLOUR_MAPS
from pfv_widgets.engine.colouring.weighting import WEIGHTINGS
from pfv_widgets.engine.pipeline.feature_store import FeatureStore
from pfv_widgets.engine.pipeline.pfv import PFV
from tests.networks import blobs, tiny


@pytest.fixture
def pfv() -> PFV:
    return PFV(tiny(), blobs(6, 48, 60), device="cpu")


@pytest.mark.parametrize("size", [None, (20, 30), (48, 20), (130, 70)])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("sharing", COLOUR_FILTERS)
def test_some_images_have_the_colours_of_the_whole_picture(
    pfv: PFV, weighting: str, sharing: str, size: tuple[int, int] | None
) -> None:
    look: dict[str, Any] = {
        "weighting": weighting,
        "sharing": sharing,
        "images": (1, 0, 2, 1, 1, 1),
    }
    whole = pfv.render(size=size, **look).heatmaps
    some = pfv.render(size=size, only=(4, 1), **look).heatmaps
    torch.testing.assert_close(some, whole[[4, 1]], atol=1e-5, rtol=0)


def test_labels_go_with_their_images() -> None:
    images = replace(blobs(4), labels=("cat", "dog", "cat", "ant"))
    pfv = PFV(tiny(), images, device="cpu")
    assert pfv.render().labels == images.labels
    assert pfv.render(only=(3, 1)).labels == ("ant", "dog")
    assert PFV(tiny(), blobs(4), device="cpu").render().labels is None


@pytest.mark.parametrize("colour_map", COLOUR_MAPS)
@pytest.mark.parametrize("changes", [{"components": 5, "channels": (3, 1)}, {"components": 1}])
@pytest.mark.parametrize("normalisation", ["global", "component"])
def test_colours_are_equal_for_every_choice_of_components(
    pfv: PFV, colour_map: str, changes: dict[str, Any], normalisation: str
) -> None:
    look = changes | {"colour_map": colour_map, "normalisation": normalisation}
    whole = pfv.render(**look).heatmaps
    torch.testing.assert_close(
        pfv.render(only=[5], **look).heatmaps[0], whole[5], atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_zoom_has_the_colours_of_the_gallery(pfv: PFV, weighting: str) -> None:
    gallery = pfv.render(weighting=weighting).heatmaps[3]
    zoom = pfv.render(weighting=weighting, size=(480, 600), only=[3]).heatmaps[0]
    back = zoom.reshape(48, 10, 60, 10, 3).mean(dim=(1, 3))
    assert float((back - gallery).abs().mean()) < 0.01


def test_frame_of_some_images_holds_those_alone(pfv: PFV) -> None:
    whole = pfv.render(images=(1, 0, 2, 1, 1, 1))
    some = pfv.render(images=(1, 0, 2, 1, 1, 1), only=np.array([2, 1]), size=(96, 120))
    assert some.indices == (2, 1)
    assert len(some) == 2
    assert some.heatmaps.shape == (2, 96, 120, 3)
    torch.testing.assert_close(some.scores, whole.scores[[2, 1]])
    assert np.array_equal(some.pixels, whole.pixels[[2, 1]])
    assert some.names == (whole.names[2], whole.names[1])
    assert some.weights == (2.0, 0.0)
    assert some.settings == whole.settings
    assert torch.equal(some.basis.components, whole.basis.components)
    assert some.composite().shape == (2, 96, 120, 3)
    assert whole.indices == tuple(range(6))


def test_similarity_of_some_images_is_that_of_the_whole_picture(pfv: PFV) -> None:
    pins = [(0, 0.5, 0.5), (5, 0.1, 0.1)]
    whole = pfv.render(pins=pins, size=(96, 120)).heatmaps
    some = pfv.render(pins=pins, size=(96, 120), only=[5, 2]).heatmaps
    torch.testing.assert_close(some, whole[[5, 2]])


@pytest.mark.parametrize("look", [{}, {"only": [1], "size": (100, 100)}])
def test_writing_into_the_frame_changes_nothing_that_is_kept(
    pfv: PFV, look: dict[str, Any]
) -> None:
    first = pfv.render(**look)
    before = first.heatmaps.clone()
    for one in (first.heatmaps, first.scores, first.basis.mean, first.basis.components):
        one.zero_()
    if look:
        first.pixels[:] = 0
    assert torch.equal(pfv.render(**look).heatmaps, before)
    assert pfv.images.pixels.any()


@pytest.mark.parametrize(
    ("weighting", "sharing"),
    [*((one, "all") for one in WEIGHTINGS), *(("gradual", one) for one in COLOUR_FILTERS)],
)
def test_zoom_takes_no_memory_for_the_other_images(weighting: str, sharing: str) -> None:
    pfv = PFV(tiny(), blobs(40), device="cpu")
    pfv.render(weighting=weighting)
    with torch.profiler.profile(profile_memory=True) as profile:
        pfv.render(weighting=weighting, sharing=sharing, size=(640, 640), only=[7])
    largest = max(event.cpu_memory_usage for event in profile.events())
    # codes of colours are int64, three channels; all images would be 40 of these
    assert largest <= 3 * 8 * 640 * 640 * 1.1


def test_zoom_into_the_next_image_measures_nothing_anew(pfv: PFV) -> None:
    pfv.render(size=(300, 300), only=[1])
    entries = len(pfv.store.cache)
    pfv.render(size=(300, 300), only=[2])
    assert len(pfv.store.cache) == entries + 1  # the factors of the second image


def test_statistics_are_those_at_the_size_of_the_images_at_most(pfv: PFV) -> None:
    calls = []
    spread = FeatureStore.spread.__wrapped__  # type: ignore[attr-defined] # by functools

    def spied(*arguments: Any) -> Any:
        calls.append(arguments[-1])
        return spread(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureStore, "spread", spied)
        pfv.render(size=(640, 30))
        pfv.render(size=(20, 30), only=[0])
        pfv.render(size=(20, 30))
    assert calls == [(48, 30), (20, 30)]
