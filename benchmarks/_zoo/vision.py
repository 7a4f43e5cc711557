"""Networks of torchvision."""

from collections.abc import Iterator
from typing import Any

import torch
from _measuring import draw_statistics
from torch import Tensor, nn
from torchvision import models
from torchvision.models.video.mvit import MSBlockConfig

from _zoo.case import Case, Family, accepted
from relsplit.targets import Detection, Key, Pixels

PREDICTED = "probability of the predicted class"
PACKAGES = ("torch", "torchvision")


def pictures(*shape: int) -> Tensor:
    """Random ones, always the same."""
    return torch.rand(1, *shape, generator=torch.Generator().manual_seed(1))


def other_size(size: int) -> int:
    """A second image size, a multiple of 32."""
    return size - size // 4 // 32 * 32 - 32 * (size < 128)


def at_two_sizes(network: nn.Module, size: int) -> Iterator[Case]:
    """A classifier of images at a size and a smaller one, if it takes that."""
    draw_statistics(network, affine=False)
    return accepted(Case(network.eval(), pictures(3, each, each), PREDICTED) for each in (size, other_size(size)))


def _network(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = models.get_model(name, weights=None, **options)
    draw_statistics(network, affine=False)
    return network.eval()


def _classifier(name: str) -> Iterator[Case]:
    return at_two_sizes(_network(name), 299 if name == "inception_v3" else 224)


def _segmentation(name: str) -> Iterator[Case]:
    network, image = _network(name, weights_backbone=None), pictures(3, 64, 64)
    with torch.no_grad():
        commonest = int(network(image)["out"].argmax(1).flatten().mode().values)
    yield Case(network, image, "pixels of the commonest class", Key("out", Pixels(commonest)))


_TWO_STAGES = {"rpn_pre_nms_top_n_test": 60, "rpn_post_nms_top_n_test": 20, "box_score_thresh": 0.0,
               "box_detections_per_img": 5}  # fmt: skip
_ONE_STAGE = {"score_thresh": 0.0, "topk_candidates": 60, "detections_per_img": 5}
_MASKS = ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2")


def _detector(name: str) -> Iterator[Case]:
    model, _, part = name.partition(", ")
    options = _TWO_STAGES if "rcnn" in model else _ONE_STAGE
    sizes = {} if "ssd" in model else {"min_size": 96, "max_size": 96}
    network, image = _network(model, weights_backbone=None, **options, **sizes), pictures(3, 96, 96)
    if part == "masks":
        yield Case(network, image, "mask of the first box", Pixels(0, score="value"), output=_first_mask)
    else:
        yield Case(network, image, "score of the first box", Detection(0))


def _first_mask(output: Any) -> Tensor:
    masks: Tensor = output[0]["masks"][:1]
    return masks


def _video(name: str) -> Iterator[Case]:
    if name.startswith("mvit"):
        yield Case(_small_mvit(is_second=name.startswith("mvit_v2")), pictures(3, 8, 64, 64), PREDICTED)
    elif name == "s3d":
        yield Case(_network(name), pictures(3, 16, 224, 224), PREDICTED, rounds=1)
    else:
        yield Case(_network(name), pictures(3, 8, 48, 48), PREDICTED)


def _small_mvit(is_second: bool) -> nn.Module:
    """Four blocks as both versions have them; in the second positions are relative and pooled queries are added."""
    torch.manual_seed(0)
    sizes = [(1, 32, 64, 1, 4), (2, 64, 64, 2, 2), (2, 64, 128, 1, 2), (4, 128, 128, 2, 1)]
    blocks = [
        MSBlockConfig(
            num_heads=heads, input_channels=inputs, output_channels=outputs, kernel_q=[3, 3, 3], kernel_kv=[3, 3, 3],
            stride_q=[1, stride, stride], stride_kv=[1, stride_kv, stride_kv],
        )
        for heads, inputs, outputs, stride, stride_kv in sizes
    ]  # fmt: skip
    network: nn.Module = models.video.MViT(
        spatial_size=(64, 64), temporal_size=8, block_setting=blocks, residual_pool=is_second,
        residual_with_cls_embed=not is_second, rel_pos_embed=is_second, proj_after_attn=is_second, num_classes=400,
    )  # fmt: skip
    return network.eval()


def _quantised(name: str) -> Iterator[Case]:
    torch.manual_seed(0)
    options = {"aux_logits": False} if name.removeprefix("quantized_") in ("googlenet", "inception_v3") else {}
    network = models.get_model(name, weights=None, quantize=True, **options).eval()
    size = 96 if name == "quantized_inception_v3" else 64
    yield Case(network, pictures(3, size, size), PREDICTED)


_detectors = models.list_models(models.detection)
FAMILIES = {
    "classification": Family(
        "torchvision: classification",
        "Every classifier, at two image sizes where it takes two.",
        models.list_models(models),
        _classifier,
        PACKAGES,
    ),
    "segmentation": Family(
        "torchvision: segmentation",
        'Every network; the target is `Key("out", Pixels(k))`: the probability of a class, where it is predicted.',
        models.list_models(models.segmentation),
        _segmentation,
        PACKAGES,
    ),
    "detection": Family(
        "torchvision: detection",
        "Every detector; the target is `Detection(0)`, of masks `Pixels(0)` with `output=` naming the mask. Proposals, "
        "chosen boxes and suppressed ones are choices; regions are pooled as averages.",
        sorted([*_detectors, *(f"{name}, masks" for name in _MASKS if name in _detectors)]),
        _detector,
        PACKAGES,
    ),
    "video": Family(
        "torchvision: video",
        "Every network, on clips of 8 frames; S3D takes 16 large ones, and is timed once. MViT is of one size: of both "
        "versions it is a network of four blocks.",
        models.list_models(models.video),
        _video,
        PACKAGES,
    ),
    "quantised": Family(
        "torchvision: quantised",
        "Every classifier that comes with 8-bit weights and activations. Forwards are of the 8-bit kernels, which "
        "relevance has none of.",
        models.list_models(models.quantization),
        _quantised,
        PACKAGES,
    ),
}  # fmt: skip
