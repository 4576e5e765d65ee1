"""What passes as a feature map: outputs that look like one and are none, and the reverse."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from pfv_widgets.engine.network.layers import LayerListing
from pfv_widgets.engine.network.list_layers import list_layers
from pfv_widgets.engine.network.model_guard import run
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVValueError
from tests.networks import Function, blobs, counted, seeded, tiny

CHANNELS = 24


@torch.no_grad()
def listing_of(network: nn.Module, height: int = 32, width: int | None = None) -> LayerListing:
    images = blobs(2, height, width).tensor
    return list_layers(network.eval(), images, run)


class Branch(nn.Module):
    """A map of patches, a branch that makes something of it, and the map's own continuation."""

    def __init__(self, *branch: nn.Module, channels: int = CHANNELS) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, channels, 4, 4)
        self.branch = nn.Sequential(*branch)
        self.last = nn.Conv2d(channels, channels, 2, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        extra = self.branch(maps).mean()
        return self.last(maps + 0 * extra).mean((2, 3))


def tokens_of(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)


def attention_of(maps: Tensor) -> Tensor:
    """Two heads of attention between all positions, (N, 2, T, T)."""
    tokens = tokens_of(maps).unflatten(2, (2, -1)).transpose(1, 2)
    return (4 * tokens @ tokens.transpose(2, 3)).softmax(-1)


def blocks_of(maps: Tensor, side: int) -> Tensor:
    """Blocks of side × side positions, (N, blocks, side², C)."""
    blocks = maps.unflatten(3, (-1, side)).unflatten(2, (-1, side))
    return blocks.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)


def unrolled(maps: Tensor) -> Tensor:
    """Tokens ordered by their position in a window of 2 × 2, then by window, (N, T, C)."""
    return blocks_of(maps, 2).transpose(1, 2).flatten(1, 2)


def unfolded(maps: Tensor) -> Tensor:
    """Positions in a patch of 2 × 2 along rows, patches along columns, (N, C, 4, T / 4)."""
    return blocks_of(maps, 2).permute(0, 3, 2, 1)


def bias(_: Tensor) -> Tensor:
    """A table of two heads, which is the same for all images, (2, T, C)."""
    return torch.randn(2, 64, 5, generator=seeded())


@pytest.mark.parametrize(
    ("make", "size", "refused"),
    [
        ((Function(attention_of), nn.Dropout(), nn.Conv2d(2, 2, 1)), (32, 32), "012"),
        ((Function(attention_of), nn.Conv2d(2, 2, 1), nn.GELU()), (64, 64), "012"),
        ((Function(lambda x: blocks_of(x, 4)), nn.LayerNorm(CHANNELS)), (64, 64), "01"),
        ((Function(unrolled), nn.Linear(CHANNELS, 5), nn.GELU()), (32, 32), "012"),
        ((Function(unfolded), nn.Conv2d(CHANNELS, 5, 1), nn.ReLU()), (32, 32), "012"),
        ((Function(lambda x: x.flatten(2)), nn.Linear(96, 96), nn.GELU()), (32, 48), "12"),
    ],
    ids=["attention", "attention_on_a_grid_of_the_stem", "blocks", "windows", "patches", "mixing"],
)
def test_axes_that_are_no_positions_of_the_picture_are_refused(
    make: tuple[nn.Module, ...], size: tuple[int, int], refused: str
) -> None:
    listing = listing_of(Branch(*make), *size)
    names = [layer.name for layer in listing.layers]
    for index in refused:
        assert f"branch.{index}" not in names
        with pytest.raises(PFVValueError, match=r"at other positions than|non-spatial"):
            _ = listing[f"branch.{index}"]
    assert any("at other positions than" in reason for reason in listing.refused.values())
    assert listing.default == "last"
    assert [layer.name for layer in listing.chain("last")] == ["stem"]
    assert listing.warnings("last") == ()


@pytest.mark.parametrize("photos", [1, 2, 3])
def test_first_axis_of_two_heads_is_not_taken_for_the_batch(photos: int) -> None:
    pfv = PFV(Branch(Function(bias)), blobs(photos), device="cpu")
    assert [layer.name for layer in pfv.layers] == ["stem", "last"]
    with pytest.raises(PFVValueError, match="does not follow the number of images"):
        pfv.render(layer="branch.0")
    assert pfv.render().heatmaps.shape == (photos, 32, 32, 3)


@pytest.mark.parametrize(
    ("make", "layout"),
    [
        ((Function(tokens_of), nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, 5)), "tokens"),
        ((Function(lambda x: x.permute(0, 2, 3, 1)), nn.GELU()), "channels_last"),
        ((Function(lambda x: x * x.mean((1, 2, 3), keepdim=True).sigmoid()),), "maps"),
        ((Function(lambda x: nn.functional.group_norm(x, 1)), nn.GELU()), "maps"),
    ],
    ids=["tokens", "channels_last", "gate", "norm_over_all_positions"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_maps_in_every_layout_are_verified(
    make: tuple[nn.Module, ...], layout: str, dtype: torch.dtype
) -> None:
    network = Branch(*make).to(dtype).eval()
    with torch.no_grad():
        images = blobs(2, 32, 48).tensor.to(dtype)
        listing = list_layers(network, images, run)
    assert all(layer.verified for layer in listing.layers)
    assert listing[f"branch.{len(make) - 1}"].layout.kind == layout
    assert listing[f"branch.{len(make) - 1}"].shape[1:] == (8, 12)


def test_output_that_can_be_read_in_two_ways_is_read_as_it_answers() -> None:
    # 8 channels on a grid of 8 x 8: the shape alone says nothing
    flip = (nn.GELU(), Function(lambda x: x.permute(0, 2, 3, 1)), nn.GELU())
    listing = listing_of(Branch(*flip, channels=8))
    kinds = [listing[f"branch.{index}"].layout.kind for index in range(3)]
    assert kinds == ["maps", "channels_last", "channels_last"]


def spread(maps: Tensor) -> Tensor:
    """A global operation on the right grid: every position answers to the whole picture alike."""
    return maps.mean((2, 3), keepdim=True) * torch.ones(1, 1, 4, 6)


def test_layer_that_answers_everywhere_alike_can_be_chosen_and_weights_nothing() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.stem = nn.Conv2d(3, CHANNELS, 4, 4)
            self.coarse = nn.Conv2d(CHANNELS, CHANNELS, 2, 2)
            self.mix = Function(spread)
            self.last = nn.Conv2d(CHANNELS, CHANNELS, 2, 2)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.stem(images)
            coarse = self.coarse(maps)
            return self.last(coarse + 0.1 * self.mix(maps)).mean((2, 3))

    pfv = PFV(Mixed().eval(), blobs(2, 32, 48), device="cpu")
    verified = {layer.name: layer.verified for layer in pfv.layers}
    assert verified == {"stem": True, "coarse": True, "mix": False, "last": True}
    assert [layer.name for layer in pfv.store.chain("last")] == ["stem", "coarse"]
    frame = pfv.render(layer="mix")
    assert "mix: changing the picture did not show" in " ".join(frame.warnings)
    assert not pfv.render().warnings


def test_tokens_behind_even_attention_stay_open_on_a_grid_of_their_own() -> None:
    def pooled(maps: Tensor) -> Tensor:
        tokens = tokens_of(nn.functional.avg_pool2d(maps, 2))
        return tokens.mean(1, keepdim=True).expand_as(tokens).clone()

    listing = listing_of(Branch(Function(pooled)), 40)
    assert listing["branch.0"].layout.grid == (5, 5)
    assert not listing["branch.0"].verified
    assert "branch.0" not in [layer.name for layer in listing.chain("last")]


def test_constant_layer_is_neither_the_default_nor_in_the_chain() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.stem = nn.Conv2d(3, 8, 4, 4)
            self.coarse = nn.Conv2d(8, 8, 2, 2)
            self.none = Function(lambda x: 0 * nn.functional.avg_pool2d(x, 2) + 1)
            self.same = Function(lambda x: 0 * x + 1)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.stem(images)
            return self.same(self.coarse(maps) + self.none(maps))

    listing = listing_of(Constant())
    assert [layer.name for layer in listing.layers if not layer.verified] == ["none", "same"]
    assert listing.default == "coarse"
    assert "none" not in [layer.name for layer in listing.chain("same")]


def test_layer_left_out_of_the_weighting_is_named() -> None:
    constant = Function(lambda x: 0 * nn.functional.avg_pool2d(x, 4))
    (message,) = listing_of(Branch(constant, nn.Identity())).warnings("last")
    assert "branch.0" in message
    assert "left out of the weighting" in message


def test_plain_convolutional_network_runs_once() -> None:
    for network, passes in ((tiny(), 1), (Branch(Function(tokens_of)), 2)):
        with counted(network) as calls:
            listing_of(network)
        assert len(calls) == passes


@pytest.mark.parametrize("name", ["squeezenet1_0", "resnet18", "densenet121", "mobilenet_v2"])
def test_usual_convolutional_networks_run_once(name: str) -> None:
    network = torchvision.models.get_model(name, weights=None)
    with counted(network) as calls:
        listing = listing_of(network, 64)
    assert len(calls) == 1
    assert all(layer.verified for layer in listing.layers)


def test_network_for_one_batch_size_leaves_open_what_is_no_plain_map() -> None:
    class Fixed(Branch):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.reshape(2, *images.shape[1:]))

    listing = listing_of(Fixed(Function(tokens_of)))
    assert [layer.name for layer in listing.layers] == ["stem", "branch.0", "branch", "last"]
    assert not listing["branch.0"].verified
    assert listing.default == "last"


def test_weak_answers_of_a_network_with_tiny_activations_are_measured() -> None:
    network = Branch(Function(tokens_of), nn.Linear(CHANNELS, 5, bias=False))
    with torch.no_grad():
        network.stem.weight *= 1e-25
        for layer in (network.stem, network.last):
            layer.bias *= 0
    assert all(layer.verified for layer in listing_of(network).layers)


def test_listing_changes_neither_the_images_nor_random_numbers() -> None:
    images = blobs(2).tensor
    before = images.clone()
    with torch.no_grad():
        network = Branch(Function(tokens_of)).eval()
        state = torch.random.get_rng_state()
        list_layers(network, images, run)
    assert torch.equal(images, before)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_quantised_network_is_told_what_to_pass() -> None:
    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quantise = Function(lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8))

        def forward(self, images: Tensor) -> Tensor:
            return self.quantise(images).dequantize().mean((2, 3))

    with pytest.raises(PFVValueError, match=r"quantised values\. Pass the float network"):
        PFV(Quantised(), blobs(2), device="cpu")


def test_exported_network_is_told_what_to_pass() -> None:
    exported = torch.export.export(tiny(), (blobs(2).tensor,)).module()
    with pytest.raises(PFVValueError, match=r"exported network.*Pass the eager nn\.Module"):
        PFV(exported, blobs(2), device="cpu")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_scripted_part_is_refused_and_the_rest_is_shown() -> None:
    network = tiny()
    block = nn.Sequential(network[4], network[5], nn.ReLU())
    network[4], network[5] = torch.jit.script(block), nn.Identity()
    pfv = PFV(network, blobs(2), device="cpu")
    assert "10" in [layer.name for layer in pfv.layers]
    for name in ("4", "4.0"):
        with pytest.raises(PFVValueError, match=r"scripted.*Use the eager module"):
            pfv.render(layer=name)
    assert "4 is traced or scripted" in " ".join(pfv.render().warnings)


class ChannelsLastBlock(nn.Module):
    """A block like Swin's: channels last, something of its own before its parts."""

    def __init__(self, channels: int, flips: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mix = nn.Linear(channels, channels)
        self.flips = flips

    def forward(self, maps: Tensor) -> Tensor:
        mixed = maps + self.mix(self.norm(maps))
        return mixed.flip(1) if self.flips else mixed


@pytest.mark.parametrize("flips", [False, True])
def test_blocks_that_repeat_on_smaller_grids_are_tested_once(flips: bool) -> None:
    torch.manual_seed(0)
    to_last = Function(lambda maps: maps.permute(0, 2, 3, 1))
    to_first = Function(lambda maps: maps.permute(0, 3, 1, 2))
    halve = [Function(lambda maps: maps[:, ::2, ::2]) for _ in range(2)]
    blocks = [ChannelsLastBlock(CHANNELS, flips and index == 2) for index in range(3)]
    network = nn.Sequential(nn.Conv2d(3, CHANNELS, 2, 2), to_last, blocks[0])
    network.extend([halve[0], blocks[1], halve[1], blocks[2], to_first, nn.Conv2d(CHANNELS, 8, 1)])
    with counted(blocks[2].mix) as calls:
        listing = listing_of(network)
    kinds = {layer.name: (layer.layout.kind, layer.verified) for layer in listing.layers}
    assert kinds["4.mix"] == ("channels_last", True)
    # a block with another option is none that was seen: it is tested, and refused
    assert len(calls) == (2 if flips else 1)
    later = {name: kinds.get(name) for name in ("6", "7", "8")}
    if flips:
        assert ("channels_last", True) not in later.values()
        assert later["7"] != ("maps", True)
    else:
        assert later == {"6": ("channels_last", True), "7": ("maps", True), "8": ("maps", True)}


def test_normalisation_by_the_images_that_run_together_is_told_behind_it() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, track_running_stats=False), nn.Conv2d(5, 5, 3)
    )
    listing = listing_of(network)
    assert listing.warnings("0") == ()
    for name in ("1", "2"):
        (message,) = listing.warnings(name)
        assert message.startswith("1 depends on all images that run together")
    assert not listing_of(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)).eval()).mixing


class Mixed(nn.Module):
    """Tokens ``(N, T, C)``, each with the mean over an axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + tokens.mean(self.axis, keepdim=True)


def test_a_block_that_mixes_the_images_is_told_behind_it() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, CHANNELS, 4, 4),
        Function(tokens_of),
        nn.LayerNorm(CHANNELS),
        Mixed(0),
        nn.LayerNorm(CHANNELS),
    )
    listing = listing_of(network)
    assert listing.mixing[0] == "3"
    assert listing.warnings("2") == ()
    for name in ("3", "4"):
        (message,) = listing.warnings(name)
        assert message.startswith("3 depends on all images that run together")
    assert not listing_of(nn.Sequential(*network[:3], Mixed(1))).mixing


class Noisy(nn.Module):
    """Tokens with noise, also in evaluation."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + torch.randn_like(tokens)


def test_noise_is_not_said_to_come_from_the_other_images() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, CHANNELS, 4, 4), Function(tokens_of), nn.LayerNorm(CHANNELS), Noisy()
    )
    assert not listing_of(network).mixing
