"""The worked case: the notebook on fine-tuning runs from top to bottom."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
from torch import nn

from tests.notebook_cells import run_notebook


class Trainer:
    """As much of Lightning's as the example uses."""

    def __init__(self, max_epochs: int, callbacks: list[Any], **_: Any) -> None:
        self.max_epochs, self.callbacks, self.current_epoch = max_epochs, callbacks, 0

    def fit(self, module: Any, loader: Any) -> None:
        optimiser = module.configure_optimizers()
        module.train()
        for callback in self.callbacks:
            callback.on_fit_start(self, module)
        for epoch in range(self.max_epochs):
            self.current_epoch = epoch
            for number, batch in enumerate(loader):
                optimiser.zero_grad()
                module.training_step(batch, number).backward()
                optimiser.step()
            for callback in self.callbacks:
                callback.on_train_epoch_end(self, module)


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning itself where it is installed, else the parts that the example uses."""
    try:
        import lightning  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
    except ImportError:
        fake = types.ModuleType("lightning")
        vars(fake).update(LightningModule=nn.Module, Callback=object, Trainer=Trainer)
        monkeypatch.setitem(sys.modules, "lightning", fake)


@pytest.mark.all
@pytest.mark.usefixtures("fake_page", "lightning")
def test_fine_tuning_is_found_where_it_began(capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, Any] = {}
    outputs = run_notebook("fine_tuning.ipynb", scope)
    printed = capsys.readouterr().out
    assert "head trained: they part at no layer" in printed
    assert "fine-tuned: they part at stage4.1" in printed
    training, comparison = outputs[1], scope["explorer"]
    assert training.wait(60)
    assert training.names == ("head trained", "epoch 10")
    assert comparison.wait(60)
    assert comparison.agreement < 0.99
    assert scope["curve"].rank_correlation[-1] < 0.3
    followed = scope["follow"].tracker
    assert followed.names == ("start", "epoch 1", "epoch 2")
    assert np.isfinite(followed.curve().cka).all()
    for explorer in (training, comparison):
        explorer.close()
