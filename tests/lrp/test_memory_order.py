"""Networks that read memory by strides of their own answer by how the images lie there, and are explained so."""

import torch
from plain_networks import alike, images, plain
from torch import Tensor, nn

from relsplit import LRP


class _Halves(nn.Module):
    """Takes the upper half of images (N, 3, 8, 8) by the strides that contiguous ones have."""

    def __init__(self) -> None:
        super().__init__()
        self.net = plain()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.as_strided(x, (len(x), 3, 5, 8), (192, 64, 8, 1)))


def test_many_images_are_read_as_their_user_would_have_them_read() -> None:
    network, x = _Halves(), images(4, 8)
    lrp = LRP(network)
    relevance, sums = lrp.attribute(x, 1, return_sums=True)
    torch.testing.assert_close(sums["output"], network(x).softmax(1)[:, 1].detach())
    alike(relevance, torch.cat([lrp.attribute(one, 1) for one in x.split(1)]))
