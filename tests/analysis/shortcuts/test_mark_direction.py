"""The direction of a mark that looks different in each photo."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from pfv_widgets.analysis.shortcuts.mark_direction import at_its_strongest, refined_direction

OWN = torch.arange(40) % 2 == 0
MARK = normalize(torch.tensor([0.0, 1, 1, 0, 0, 0, 0, 0]), dim=0)
ESTIMATED = normalize(torch.tensor([0.0, 1, 0, 3, 0, 0, 0, 0]), dim=0)


def marked_features() -> torch.Tensor:
    """Channel 0 is the class's everywhere, 1 and 2 the mark's; 1 alone is in other photos too."""
    random = torch.Generator().manual_seed(0)
    features = 0.1 * torch.randn(40, 8, 8, 8, generator=random)
    features[OWN, 0] += 4
    for photo, (row, column) in enumerate(torch.randint(0, 8, (40, 2), generator=random).tolist()):
        features[photo, 1, row, column] += 8 if OWN[photo] else 2
        features[photo, 2, row, column] += 6 if OWN[photo] else 0
    return features


def test_what_a_class_has_at_the_mark_alone_is_told_from_what_it_has_all_over() -> None:
    found = at_its_strongest(marked_features(), ESTIMATED, OWN)
    assert float(found @ MARK) > 0.98
    assert abs(float(found[0])) < 0.05


def test_a_direction_is_refined_where_photos_have_another_at_the_mark() -> None:
    features = marked_features()
    found = refined_direction(features, ESTIMATED, OWN)
    assert found is not None
    assert float(found @ MARK) > 0.7 > float(ESTIMATED @ MARK) + 0.4
    assert refined_direction(features, MARK, OWN) is None  # as estimated
    assert refined_direction(features[:, :, :7, :7], ESTIMATED, OWN) is None  # too coarse
