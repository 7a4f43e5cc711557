"""Boxes of torchvision's detectors: what a box's score is made of lies in the box, and nothing is lost on the way."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.ops import MultiScaleRoIAlign, RoIPool, ps_roi_align, roi_align

from relsplit import LRP
from relsplit.errors import InputError
from relsplit.targets import Detection, Value

SIZE = 64


def backbone() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
    network.out_channels = 8  # type: ignore[assignment]
    return network


def anchors() -> AnchorGenerator:
    return AnchorGenerator(((12, 24),), ((1.0,),))


def faster_rcnn() -> nn.Module:
    pool = MultiScaleRoIAlign(["0"], 3, 2)
    return FasterRCNN(
        backbone(), 3, min_size=SIZE, max_size=SIZE, rpn_anchor_generator=anchors(), box_roi_pool=pool,
        rpn_pre_nms_top_n_test=60, rpn_post_nms_top_n_test=20, box_score_thresh=0.0, box_detections_per_img=5,
    )  # fmt: skip


def retina_net() -> nn.Module:
    return RetinaNet(
        backbone(), 3, min_size=SIZE, max_size=SIZE, anchor_generator=anchors(), score_thresh=0.0,
        topk_candidates=50, detections_per_img=5,
    )  # fmt: skip


class OneMap(nn.Module):
    """SSD takes a dictionary of feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.out_channels = backbone(), [8]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"0": self.network(x)}


def ssd() -> nn.Module:
    return SSD(
        OneMap(), DefaultBoxGenerator([[2]]), (SIZE, SIZE), 3, score_thresh=0.0, topk_candidates=50,
        detections_per_img=5,
    )  # fmt: skip


pytestmark = pytest.mark.usefixtures("seed")


@pytest.mark.parametrize("make", [faster_rcnn, retina_net, ssd], ids=["Faster R-CNN", "RetinaNet", "SSD"])
def test_the_score_of_a_box_is_shared_among_pixels_at_the_box(make: Callable[[], nn.Module]) -> None:
    detector, images = make().eval(), torch.rand(2, 3, SIZE, SIZE)
    for box in (0, 2):
        relevance, sums = LRP(detector).attribute(images, Detection(box), return_sums=True)
        expected = torch.stack([found["scores"][box] for found in detector(images)]).detach()
        torch.testing.assert_close(sums["output"], expected)
        torch.testing.assert_close(relevance.sum((1, 2, 3)), expected, rtol=1e-5, atol=0)


def test_a_pooled_box_sees_nothing_outside() -> None:
    detector, images = faster_rcnn().eval(), torch.rand(1, 3, SIZE, SIZE)
    proposals: list[Tensor] = []
    detector.roi_heads.box_roi_pool.register_forward_hook(lambda module, given, output: proposals.append(given[1][0]))
    relevance = LRP(detector).attribute(images, Detection(0))[0].sum(0)
    margin = 12  # of the backbone's receptive field and of interpolation
    inside = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    seen = []
    for left, top, right, bottom in proposals[0].round().int().tolist():
        here = inside.clone()
        here[max(top - margin, 0) : bottom + margin, max(left - margin, 0) : right + margin] = True
        seen.append(float(relevance[here].sum() / relevance.sum()))
    assert max(seen) > 0.999  # one of the proposals holds all
    assert min(seen) < 0.9


class Regions(nn.Module):
    """Pools regions of a feature map; the regions may depend on it."""

    def __init__(self, pool: Callable[[Tensor, Tensor], Tensor], scale: float = 0.0) -> None:
        super().__init__()
        self.features, self.pool, self.scale = nn.Conv2d(3, 4, 1), pool, scale
        self.head = nn.Linear(4 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.features(x).relu()
        regions = torch.tensor([[i, 0.0, 0.0, 4.0, 4.0] for i in range(len(x))]).to(h)
        regions = regions + self.scale * h.amax((1, 2, 3))[:, None] * 0
        return self.head(self.pool(h, regions).flatten(1))


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_aligned_regions_are_averages_and_their_places_receive_nothing(scale: float) -> None:
    def aligned(h: Tensor, regions: Tensor) -> Tensor:
        return roi_align(h, regions, 2, sampling_ratio=2, aligned=True)

    model = Regions(aligned, scale).double().eval()
    plain = Regions(lambda h, regions: nn.functional.avg_pool2d(h, 2)).double().eval()
    plain.load_state_dict(model.state_dict())
    x = torch.rand(2, 3, 4, 4).double()
    torch.testing.assert_close(model(x), plain(x))
    torch.testing.assert_close(LRP(model).attribute(x), LRP(plain).attribute(x), rtol=1e-9, atol=1e-12)


def test_other_pools_of_regions_conserve() -> None:
    def position_sensitive(h: Tensor, regions: Tensor) -> Tensor:
        return ps_roi_align(h.repeat(1, 4, 1, 1), regions, 2)

    for pool in (position_sensitive, RoIPool(2, 1.0)):
        model = Regions(pool).double().eval()
        relevance, sums = LRP(model).attribute(torch.rand(2, 3, 4, 4).double(), return_sums=True)
        torch.testing.assert_close(relevance.sum((1, 2, 3)), sums["output"], rtol=1e-9, atol=0)


def test_a_detector_without_boxes_and_without_a_target() -> None:
    detector, images = retina_net().eval(), torch.rand(2, 3, SIZE, SIZE)
    with pytest.raises(InputError, match=r"the network returned 5 boxes for image 0"):
        LRP(detector).attribute(images, Detection(5))
    detector.score_thresh = 1.1
    with pytest.raises(InputError, match=r"the network returned 0 boxes for image 0: .*lower the detector's score"):
        LRP(detector).attribute(images, Detection())
    with pytest.raises(InputError, match=r"it returns 2 parts, .* with the boxes .*: explain one with Detection\(0\)"):
        LRP(detector).attribute(images, Value(0))
