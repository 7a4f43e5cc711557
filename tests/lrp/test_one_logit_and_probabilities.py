"""The answer is read as what it is: one logit, probabilities, or logits of classes."""

import warnings

import pytest
import torch
from plain_networks import alike, images, plain
from torch import Tensor, nn

from relsplit import LRP


def one_logit() -> nn.Sequential:
    return plain(classes=1)


def two_logits() -> nn.Sequential:
    """The same decision by two classes: the other one's logit is 0."""
    network, single = plain(classes=2), one_logit()
    with torch.no_grad():
        for parameter, one in zip(network.parameters(), single.parameters(), strict=True):
            parameter.copy_(one) if parameter.shape == one.shape else parameter.copy_(
                torch.cat([torch.zeros_like(one), one])
            )
    return network


class Squeezed(nn.Module):
    """Answers (N,)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = one_logit()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).squeeze(1)


@pytest.mark.parametrize("make", [one_logit, Squeezed], ids=["(N, 1)", "(N,)"])
def test_one_logit_starts_from_its_sigmoid(make: type[nn.Module]) -> None:
    network, x = make().eval(), images(4)
    logit = network(x).detach().reshape(-1)
    relevance, sums = LRP(network).attribute(x, 1, return_sums=True)
    torch.testing.assert_close(sums["output"], logit.sigmoid())
    alike(relevance, LRP(two_logits()).attribute(x, 1))
    relevance, sums = LRP(network).attribute(x, 0, return_sums=True)
    torch.testing.assert_close(sums["output"], 1 - logit.sigmoid())
    torch.testing.assert_close(relevance.flatten(1).sum(1), 1 - logit.sigmoid(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("shift", [-50.0, 50.0])
def test_one_logit_predicts_the_side_of_zero(shift: float) -> None:
    network, x = one_logit(), images(3)
    with torch.no_grad():
        network[6].bias.add_(shift)
    logit = network(x).detach()[:, 0]
    assert (logit * shift > 0).all()
    _, sums = LRP(network).attribute(x, return_sums=True)
    torch.testing.assert_close(sums["output"], logit.abs().sigmoid())


def test_one_logit_with_a_target_for_each_image() -> None:
    network, x = one_logit(), images(3)
    _, sums = LRP(network).attribute(x, torch.tensor([1, 0, 1]), return_sums=True)
    p = network(x).detach()[:, 0].sigmoid()
    torch.testing.assert_close(sums["output"], torch.stack([p[0], 1 - p[1], p[2]]))


def test_one_logit_and_no_third_side() -> None:
    with pytest.raises(ValueError, match="target") as caught:
        LRP(one_logit()).attribute(images(), 2)
    assert "\n" not in str(caught.value)


def test_the_logit_itself_may_be_the_start() -> None:
    network, x = one_logit(), images(3)
    relevance = LRP(network, start="logit").attribute(x, 1)
    torch.testing.assert_close(relevance.flatten(1).sum(1), network(x).detach()[:, 0], rtol=1e-6, atol=0)


def ending(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*plain(classes=4), *modules).eval()


def test_a_softmax_inside_is_not_applied_twice() -> None:
    network, x = ending(nn.Softmax(1)), images(3)
    relevance, sums = LRP(network).attribute(x, 2, return_sums=True)
    torch.testing.assert_close(sums["output"], network(x).detach()[:, 2])
    alike(relevance, LRP(plain(classes=4)).attribute(x, 2))
    assert torch.equal(LRP(network).attribute(x), LRP(network).attribute(x, network(x).argmax(1)))


def test_a_log_softmax_inside_is_undone() -> None:
    """softmax(log softmax) is softmax: nothing to recognise, and nothing to spoil."""
    network, x = ending(nn.LogSoftmax(1)), images(3)
    _, sums = LRP(network).attribute(x, 2, return_sums=True)
    torch.testing.assert_close(sums["output"], network(x).detach()[:, 2].exp())


def test_several_sigmoids_are_probabilities_each() -> None:
    network, x = ending(nn.Sigmoid()), images(3)
    relevance, sums = LRP(network).attribute(x, 2, return_sums=True)
    torch.testing.assert_close(sums["output"], network(x).detach()[:, 2])
    chosen = torch.arange(4) == 2
    alike(relevance, LRP(plain(classes=4), start=lambda z: z.sigmoid() * chosen).attribute(x))


def test_one_sigmoid_is_a_probability() -> None:
    network, x = nn.Sequential(*one_logit(), nn.Sigmoid()).eval(), images(3)
    p = network(x).detach()[:, 0]
    for target, expected in ((1, p), (0, 1 - p)):
        _, sums = LRP(network).attribute(x, target, return_sums=True)
        torch.testing.assert_close(sums["output"], expected)


def test_it_is_said_once_that_an_output_is_read_as_probabilities() -> None:
    lrp = LRP(ending(nn.Softmax(1)))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(3):
            lrp.attribute(images(), 1)
    assert [str(each.message) for each in told if "probabilit" in str(each.message)] != []
    assert len([each for each in told if "probabilit" in str(each.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LRP(ending(nn.Softmax(1)), scores="probabilities").attribute(images(), 1)
        LRP(ending(nn.Softmax(1)), scores="logits").attribute(images(), 1)


def test_what_an_output_is_can_be_said() -> None:
    network, x = ending(nn.Softmax(1)), images(3)
    _, sums = LRP(network, scores="logits").attribute(x, 2, return_sums=True)
    torch.testing.assert_close(sums["output"], network(x).softmax(1).detach()[:, 2])
    _, sums = LRP(network, scores="probabilities").attribute(x, 2, return_sums=True)
    torch.testing.assert_close(sums["output"], network(x).detach()[:, 2])
    with pytest.raises(ValueError, match="scores"):
        LRP(network, scores="odds")


def test_logits_that_happen_to_lie_in_the_unit_interval_stay_logits() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = plain(classes=4)

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x).sigmoid() * 0.1 + torch.tensor([0.1, 0.5, 0.2, 0.6])

    network, x = Small().eval(), images(3)
    _, sums = LRP(network).attribute(x, 2, return_sums=True)
    torch.testing.assert_close(sums["output"], network(x).softmax(1).detach()[:, 2])


def test_a_uniform_answer_to_one_image_does_not_change_how_the_others_are_read() -> None:
    """Batch against one by one: what the output is must not depend on which images come together."""
    network, x = ending(nn.Softmax(1)), images(4)
    lrp = LRP(network)
    together = lrp.attribute(x, 1)
    alike(together, torch.cat([lrp.attribute(x[i : i + 1], 1) for i in range(4)]))
