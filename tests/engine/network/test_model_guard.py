from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import pfv_widgets as pw
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.network.devices import choose_device, on_device
from pfv_widgets.engine.network.model_guard import clean_name, floating_dtype, unwrap
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVTypeError, PFVValueError
from tests.networks import HOOKS, Function, blobs, tiny, unchanged


def network_in_both_modes() -> nn.Sequential:
    """Modules in both modes, frozen and trained parameters, some with a gradient."""
    network = tiny()
    network.train()
    network[1].eval()
    network[5].weight.requires_grad_(False)
    network[0].weight.grad = torch.ones_like(network[0].weight)
    network.register_forward_hook(lambda *_: None)
    network[2].register_forward_pre_hook(lambda *_: None)
    return network


class Failing(nn.Module):
    """Raise an error once a flag is set."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None

    def forward(self, value: Tensor) -> Tensor:
        if self.error is not None:
            raise self.error
        return value


def test_hooks_of_all_kinds_are_watched() -> None:
    assert {"_forward_hooks", "_forward_pre_hooks", "_backward_hooks"} <= set(HOOKS)


@pytest.mark.parametrize("changes", [{}, {"layer": "4"}, {"weighting": "gradual"}])
def test_model_comes_back_as_it_states(changes: dict[str, Any]) -> None:
    network, images = network_in_both_modes(), blobs(3)
    tensor, pixels = images.tensor.clone(), images.pixels.copy()
    with unchanged(network):
        PFV(network, images, device="cpu", chunk_size=2).render(**changes)
    assert torch.equal(images.tensor, tensor)
    assert (images.pixels == pixels).all()


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (RuntimeError("it broke"), PFVValueError),
        (KeyError("it broke"), PFVValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_model_comes_back_as_it_states_from_a_failure(
    error: BaseException, seen: type[BaseException]
) -> None:
    failing = Failing()
    network = nn.Sequential(*network_in_both_modes()[:6], failing, nn.Conv2d(8, 8, 3), nn.ReLU())
    network.train()
    pfv = PFV(network, blobs(2), device="cpu")
    failing.error = error
    with unchanged(network):
        with pytest.raises(seen):
            pfv.render(layer="7")
        with pytest.raises(seen):
            PFV(network, blobs(2), device="cpu")
    failing.error = None
    assert float(pfv.render(layer="7").heatmaps.std()) > 0.01


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_mode_of_gradients_around_does_not_matter(mode: Callable[[], Any]) -> None:
    network, images = network_in_both_modes(), blobs(3)  # more than the two that list the layers
    expected = PFV(network, images, device="cpu").render(images=(1, 0.5, 1))
    with mode():
        pfv = PFV(network, images, device="cpu")
        pfv.render()
        actual = pfv.render(images=(1, 0.5, 1))
        assert torch.is_grad_enabled() == (mode is torch.enable_grad)
    for frame in (actual, pfv.render(images=(1, 0.5, 1), weighting="flat")):
        torch.testing.assert_close(frame.heatmaps.clone(), expected.heatmaps)
        assert not frame.heatmaps.requires_grad
        assert not frame.scores.requires_grad


def test_model_made_in_inference_mode_gives_a_picture() -> None:
    with torch.inference_mode():
        network = tiny()
    result = PFV(network, blobs(2), device="cpu").render()
    torch.testing.assert_close(
        result.heatmaps, PFV(tiny(), blobs(2), device="cpu").render().heatmaps
    )


def test_model_in_training_mode_gives_the_picture_of_evaluation() -> None:
    trained = tiny().train()
    trained.insert(3, nn.Dropout(0.9))
    plain = copy.deepcopy(trained).eval()
    result = PFV(trained, blobs(3), device="cpu").render()
    assert torch.equal(result.heatmaps, PFV(plain, blobs(3), device="cpu").render().heatmaps)


class Counting(nn.Module):
    """Buffers that the forward pass changes in place and replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("runs", torch.zeros((), dtype=torch.long))
        self.register_buffer("last", torch.full((2,), float("nan")))

    def forward(self, value: Tensor) -> Tensor:
        self.runs += 1
        self.last = value.flatten()[:2]
        return value * 2


def test_buffers_that_the_forward_pass_writes_are_restored() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3), Counting(), nn.Conv2d(5, 5, 3), nn.ReLU())
    last = network[1].last
    PFV(network, blobs(2), device="cpu").render(layer="2")
    assert int(network[1].runs) == 0
    assert network[1].last is last
    assert bool(last.isnan().all())


class Adapting(nn.Module):
    """Puts its normalisation into training mode, as test-time adaptation does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)

    def forward(self, images: Tensor) -> Tensor:
        self.norm.train()
        return self.norm(self.conv(images)).relu()


def test_statistics_that_the_forward_pass_gathers_stay_as_they_were() -> None:
    network = Adapting().eval()
    pfv = PFV(network, blobs(3), device="cpu")
    (warning,) = (one for one in pfv.render(layer="norm").warnings if "together" in one)
    assert warning.startswith("norm depends on all images that run together")
    assert "together" not in " ".join(pfv.render(layer="conv").warnings)
    assert int(network.norm.num_batches_tracked) == 0
    assert not network.norm.running_mean.any()
    assert not network.norm.training


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_traced_and_scripted_networks_are_refused_with_the_reason() -> None:
    example = torch.zeros(1, 3, 32, 32)
    for model in (torch.jit.trace(tiny(), example), torch.jit.script(tiny())):
        with pytest.raises(PFVTypeError, match=r"ignores hooks.*Pass the eager nn\.Module"):
            PFV(model, blobs(1), device="cpu")


@pytest.mark.parametrize(
    ("model", "fix"),
    [
        (None, ""),
        ("resnet18", "Give the network itself"),
        (nn.Conv2d, "call it"),
        ({"weight": torch.zeros(2)}, "load_state_dict"),
    ],
)
def test_anything_but_a_module_is_refused_by_its_type(model: Any, fix: str) -> None:
    words = rf"expected a torch\.nn\.Module, got {type(model).__name__}\..*{fix}"
    with pytest.raises(PFVTypeError, match=words):
        PFV(model, blobs(1), device="cpu")


def test_parameters_without_numbers_are_named() -> None:
    with pytest.raises(PFVValueError, match=r"parameter '0\.weight' is on the meta device"):
        PFV(tiny().to("meta"), blobs(1), device="cpu")
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU())
    with pytest.raises(PFVValueError, match=r"parameter '0\.weight' is not initialised"):
        PFV(lazy, blobs(1), device="cpu")
    assert "Lazy" in type(lazy[0]).__name__


def compiled(network: nn.Module) -> nn.Module:
    return torch.compile(network, backend="eager")


def compiled_inside(network: nn.Sequential) -> nn.Module:
    network[4] = torch.compile(network[4], backend="eager")
    return network


def compiled_in_place(network: nn.Sequential) -> nn.Module:
    network.compile(backend="eager")
    network[4].compile(backend="eager")
    return network


@pytest.mark.parametrize(
    ("wrap", "warm"),
    [
        (compiled, False),
        (compiled, True),
        (compiled_inside, True),
        (compiled_in_place, True),
        (nn.DataParallel, False),
        (lambda network: compiled(nn.DataParallel(network)), True),
    ],
)
def test_wrapped_network_gives_the_same_picture_under_the_same_names(
    wrap: Callable[[nn.Module], nn.Module], warm: bool
) -> None:
    plain = PFV(tiny(), blobs(2), device="cpu")
    network = wrap(tiny())
    if warm:  # what is compiled already asks for no hooks
        with torch.no_grad():
            network(blobs(2).tensor)
    wrapped = PFV(network, blobs(2), device="cpu")
    assert [layer.name for layer in wrapped.layers] == [layer.name for layer in plain.layers]
    for name in ("4", "module.4", "_orig_mod.4", "module._orig_mod.4"):
        result = wrapped.render(layer=name)
        assert result.layer == "4"
        torch.testing.assert_close(result.heatmaps, plain.render(layer="4").heatmaps)


def test_network_with_a_part_that_is_called_module_keeps_its_names() -> None:
    pfv = PFV(AveragedModel(tiny()), blobs(2), device="cpu")
    assert pfv.default_layer == "module.10"
    expected = PFV(tiny(), blobs(2), device="cpu").render(layer="4")
    torch.testing.assert_close(pfv.render(layer="module.4").heatmaps, expected.heatmaps)
    options = {"device": "cpu", "progress": False}
    basis = pw.fit_basis(AveragedModel(tiny()), [blobs(2).tensor], "module.4", **options)
    assert basis.layer == "module.4"


def test_names_lose_what_wrappers_add() -> None:
    assert clean_name("module._orig_mod.features.3") == "features.3"
    assert clean_name("block._orig_mod.conv") == "block.conv"
    assert clean_name("features.module.3") == "features.module.3"


def test_network_that_fails_on_the_images_is_told_with_their_shape() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 2))
    with pytest.raises(
        PFVValueError, match=r"failed on a batch of shape .*3, 32, 32.*size="
    ) as one:
        PFV(network, blobs(1), device="cpu")
    assert isinstance(one.value.__cause__, RuntimeError)


def test_network_that_takes_more_than_images_is_told() -> None:
    class Masked(nn.Module):
        def forward(self, images: Tensor, mask: Tensor) -> Tensor:
            return images * mask

    with pytest.raises(PFVValueError, match=r"It takes more than the images. Wrap it in a module"):
        PFV(Masked(), blobs(1), device="cpu")


def test_network_without_parameters_gives_a_picture() -> None:
    network = nn.Sequential(Function(lambda x: x * 2), nn.AvgPool2d(2), nn.AvgPool2d(2))
    assert floating_dtype(network) == torch.float32
    assert float(PFV(network, blobs(2), device="cpu").render().heatmaps.std()) > 0.05


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), "auto"])
def test_network_on_its_device_is_not_copied(device: Any) -> None:
    network = tiny()
    assert on_device(unwrap(network), choose_device(network, device)) is network


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "ipu", "meta", 3.5, None])
def test_device_that_cannot_be_used_is_named_in_a_sentence(device: Any) -> None:
    with pytest.raises(PFVValueError, match=r"^device=(?=.*'cpu').{,250}$"):
        choose_device(tiny(), device)


@pytest.mark.gpu
def test_network_is_copied_to_the_accelerator_and_gives_the_same_picture(
    accelerator: torch.device,
) -> None:
    network = tiny()
    with unchanged(network):
        pfv = PFV(network, blobs(3), device=accelerator)
        actual = pfv.render()
    assert {one.device.type for one in network.parameters()} == {"cpu"}
    assert actual.heatmaps.device.type == pfv.device.type == accelerator.type
    expected = PFV(network, blobs(3), device="cpu").render()
    torch.testing.assert_close(actual.heatmaps.cpu(), expected.heatmaps, rtol=0, atol=2e-3)


def writes_to_its_input() -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(inplace=True), nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(8 * 30 * 30, 4),
    )  # fmt: skip


USES: dict[str, Callable[[nn.Module, ImageBatch], object]] = {
    "render": lambda model, images: pw.PFV(model, images, device="cpu", chunk_size=2).render(),
    "fit_basis": lambda model, images: pw.fit_basis(model, [images.tensor, [images.tensor]]),
    "matching": lambda model, images: pw.reconstruct(model, images, layer="1", steps=2),
    "start": lambda model, images: pw.reconstruct(
        model, unit=1, size=32, start=images.subset([0]), steps=2
    ),
    "figure_methods": lambda model, images: pw.figure_methods(model, images, ["saliency"]),
    **{
        name: lambda model, images, name=name: pw.attribute(model, images, name)  # type: ignore[misc]
        for name in pw.METHODS
    },
}


@pytest.mark.parametrize("use", USES)
def test_network_that_writes_into_its_input_leaves_the_photos_alone(use: str) -> None:
    images = blobs(2)
    before, pixels = images.tensor.clone(), images.pixels.copy()
    model = writes_to_its_input()
    first = USES[use](model, images)
    assert torch.equal(images.tensor, before)
    assert (images.pixels == pixels).all()
    plain = copy.deepcopy(model)
    plain[0] = nn.ReLU()
    for name in ("scores", "signed", "mean", "losses"):
        if isinstance(getattr(first, name, None), Tensor):
            torch.testing.assert_close(
                getattr(USES[use](plain, images), name), getattr(first, name)
            )


def test_other_inputs_that_the_network_writes_to_are_left_alone() -> None:
    class Two(nn.Module):
        def forward(self, images: Tensor, weight: Tensor) -> Tensor:
            return (images.mean((2, 3)) * weight.mul_(2))[:, :2]

    weight = torch.ones(2, 1)
    pw.attribute(Two(), blobs(2), "saliency", inputs={"weight": weight})
    assert torch.equal(weight, torch.ones(2, 1))
