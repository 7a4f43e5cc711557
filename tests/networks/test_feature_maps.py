"""Where a feature map lies in what a layer returns, in convolutional networks and transformers."""

import numpy as np
import pytest
import pytorch_grad_cam
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from relsplit.errors import InputError
from relsplit.explainers import GradCAM, ScoreCAM
from relsplit.networks.feature_maps import layout
from relsplit.networks.named_layers import last_spatial_layer


@pytest.mark.parametrize(
    ("shape", "size", "kind", "grid"),
    [
        ((2, 512, 7, 7), (224, 224), "channels first", (7, 7)),
        ((2, 7, 7, 768), (224, 224), "channels last", (7, 7)),
        ((2, 7, 7, 7), (224, 224), "channels first", (7, 7)),
        ((2, 14, 10, 96), (448, 320), "channels last", (14, 10)),
        ((2, 96, 14, 10), (448, 320), "channels first", (14, 10)),
        ((2, 64, 3, 4), (50, 70), "channels first", (3, 4)),
        ((2, 2048, 1, 1), (224, 224), "channels first", (1, 1)),
        ((2, 197, 768), (224, 224), "tokens", (14, 14)),
        ((2, 196, 768), (224, 224), "tokens", (14, 14)),
        ((2, 198, 192), (224, 224), "tokens", (14, 14)),
        ((2, 1374, 384), (518, 518), "tokens", (37, 37)),
        ((2, 1 + 14 * 10, 8), (224, 160), "tokens", (14, 10)),
        ((2, 230, 768), (224, 224), None, None),
        ((2, 12, 197, 64), (224, 224), None, None),  # heads, tokens, width
        ((128, 49, 96), (224, 224), None, None),  # windows in the place of images
        ((2, 1000), (224, 224), None, None),
    ],
)
def test_axes_are_told_by_the_images_shape(
    shape: tuple[int, ...], size: tuple[int, int], kind: str | None, grid: tuple[int, int] | None
) -> None:
    output = torch.randn(shape)
    found = layout(output, 2, size)
    if kind is None:
        assert found is None
        return
    assert found is not None
    assert (found.kind, found.places) == (kind, grid)
    maps = found.grid(output)
    assert maps.shape[2:] == grid
    assert torch.equal(found.back(maps, output), output)
    place = (0, 1, 0, grid[1] - 1)
    wanted = {
        "channels first": lambda: output[0, 1, 0, grid[1] - 1],
        "channels last": lambda: output[0, 0, grid[1] - 1, 1],
        "tokens": lambda: output[0, shape[1] - grid[0] * grid[1] + grid[1] - 1, 1],
    }[kind]()
    assert maps[place] == wanted


class TimmLikeSwin(nn.Module):
    """A hierarchical transformer that ends channels last, as timm's do."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm, self.fc = nn.Conv2d(3, 12, 8, 8), nn.LayerNorm(12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.patches(x).permute(0, 2, 3, 1)).mean((1, 2)))


def seeded(make: type[nn.Module], **options: object) -> nn.Module:
    torch.manual_seed(0)
    network = make(**options).eval()
    for parameter in network.parameters():  # torchvision's heads begin with zeros
        if not parameter.any():
            nn.init.normal_(parameter, std=0.3)
    return network


def vit() -> nn.Module:
    options = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    return seeded(VisionTransformer, **options, num_classes=5)


def swin() -> nn.Module:
    return seeded(
        SwinTransformer, patch_size=[2, 2], embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=[4, 4],
        num_classes=5,
    )  # fmt: skip


IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([4, 0, 2])


def by_hand(method: type, network: nn.Module, layer: str, transform: object) -> Tensor:
    with method(network, [network.get_submodule(layer)], reshape_transform=transform) as cam:
        return torch.from_numpy(cam(IMAGES.clone(), [ClassifierOutputTarget(int(c)) for c in TARGET]))


@pytest.mark.parametrize(
    ("make", "auto", "named", "transform"),
    [
        (vit, "encoder.layers.encoder_layer_1.ln_1", None, lambda x: x[:, 1:].transpose(1, 2).unflatten(2, (4, 4))),
        (swin, "permute", "norm", lambda x: x.permute(0, 3, 1, 2)),
        (lambda: seeded(TimmLikeSwin), "norm", None, lambda x: x.permute(0, 3, 1, 2)),
    ],
)
def test_transformers_are_explained_as_grad_cam_does_with_the_right_axes(make, auto, named, transform) -> None:
    network = make()
    chosen = last_spatial_layer(network, IMAGES[:1])
    assert chosen is network.get_submodule(auto)
    layer = named or auto
    expected = by_hand(pytorch_grad_cam.GradCAM, make(), layer, transform)
    masked = by_hand(pytorch_grad_cam.ScoreCAM, make(), layer, transform)
    assert expected.std(dim=(1, 2)).max() > 0.05
    for target_layer in ("auto", layer):
        found = GradCAM(network, target_layer).attribute(IMAGES, TARGET)
        np.testing.assert_allclose(found, expected, atol=2e-4)
        found = ScoreCAM(network, target_layer, variant="channel_softmax").attribute(IMAGES, TARGET)
        np.testing.assert_allclose(found, masked, atol=2e-4)


def test_layers_without_places_are_refused_in_one_line() -> None:
    network = vit()
    for method in (GradCAM, ScoreCAM):
        for layer, said in (("heads", "does not return one feature map"), ("encoder.dropout", None)):
            explainer = method(network, layer)
            if said is None:
                assert explainer.attribute(IMAGES, 1).shape == (3, 32, 32)
                continue
            with pytest.raises(InputError, match=said) as caught:
                explainer.attribute(IMAGES, 1)
            assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="more than one cell"):
        GradCAM(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))).attribute(IMAGES, 1)
