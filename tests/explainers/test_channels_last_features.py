"""``target_layer=auto`` on networks that keep their channels last, as window transformers do: (N, h, w, C)."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit.explainers import GradCAM, ScoreCAM

SIDE, CHANNELS = 7, 12


class ChannelsLast(nn.Module):
    """Patches, a block that works on (N, h, w, C), and a head that takes the mean over positions."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.patches = nn.Conv2d(3, CHANNELS, 4, 4)
            self.block = nn.Sequential(nn.Linear(CHANNELS, 2 * CHANNELS), nn.GELU(), nn.Linear(2 * CHANNELS, CHANNELS))
            self.norm = nn.LayerNorm(CHANNELS)
            self.head = nn.Linear(CHANNELS, 5)
        self.eval()

    def features(self, x: Tensor) -> Tensor:
        """(N, h, w, C)."""
        h = self.patches(x).permute(0, 2, 3, 1)
        return self.norm(h + self.block(h))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((1, 2)))


def images() -> Tensor:
    return torch.rand(2, 3, 4 * SIDE, 4 * SIDE, generator=torch.Generator().manual_seed(1))


def scaled(maps: Tensor) -> Tensor:
    """Each to [0, 1]."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


def by_hand(network: ChannelsLast, x: Tensor, target: int) -> Tensor:
    """Grad-CAM of the features (N, h, w, C) for one class, at image size, in [0, 1]."""
    features = network.features(x).detach().requires_grad_()
    network.head(features.mean((1, 2)))[:, target].sum().backward()
    weights = features.grad.mean((1, 2), keepdim=True)
    cam = (weights * features).sum(3).relu().detach()
    return scaled(F.interpolate(scaled(cam)[:, None], size=x.shape[-2:], mode="bilinear", align_corners=False)[:, 0])


def test_grad_cam_reads_the_last_dimension_as_channels() -> None:
    network, x = ChannelsLast(), images()
    for target in (1, 3):
        found = GradCAM(network, "auto").attribute(x, target)
        torch.testing.assert_close(found, by_hand(network, x, target), rtol=1e-3, atol=1e-2)


def test_a_layer_by_name_is_read_alike() -> None:
    network, x = ChannelsLast(), images()
    found = GradCAM(network, "norm").attribute(x, 1)
    torch.testing.assert_close(found, by_hand(network, x, 1), rtol=1e-3, atol=1e-2)


class ByConvolutions(nn.Module):
    """The same network with its features as (N, C, h, w)."""

    def __init__(self, network: ChannelsLast) -> None:
        super().__init__()
        self.network = network
        self.last = nn.Identity()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.network.head(self.last(self.network.features(x).permute(0, 3, 1, 2)).mean((2, 3)))


def test_score_cam_masks_with_channels_not_with_rows() -> None:
    network, x = ChannelsLast(), images()
    expected = ScoreCAM(ByConvolutions(network), "last").attribute(x, 1)
    torch.testing.assert_close(ScoreCAM(network, "auto").attribute(x, 1), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_swin(library: str) -> None:
    """Both libraries' Swin transformers end with a normalisation of (N, h, w, C); timm's pools it so."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if library == "timm":
            timm = pytest.importorskip("timm")
            network = timm.create_model(
                "swin_tiny_patch4_window7_224", embed_dim=16, depths=(1, 1), num_heads=(1, 2), num_classes=5,
                img_size=56,
            ).eval()  # fmt: skip
        else:
            from torchvision.models import SwinTransformer

            network = SwinTransformer([4, 4], 16, [1, 1], [1, 2], [7, 7], num_classes=5).eval()
    x = torch.rand(1, 3, 56, 56, generator=torch.Generator().manual_seed(2))
    kept: list[Tensor] = []
    handle = network.norm.register_forward_hook(lambda _module, _args, output: kept.append(output))
    with torch.enable_grad():
        scores = network(x)
    handle.remove()
    (features,) = kept
    assert features.shape[1:3] == (7, 7)
    predicted = int(scores.argmax())  # for which the map is not all 0
    (gradient,) = torch.autograd.grad(scores[:, predicted].sum(), features)
    cam = (gradient.mean((1, 2), keepdim=True) * features).sum(3).relu().detach()
    expected = scaled(
        F.interpolate(scaled(cam)[:, None], size=x.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    )
    found = GradCAM(network, "auto").attribute(x, predicted)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-2)
