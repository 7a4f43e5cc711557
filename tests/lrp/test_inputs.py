"""Any input with the batch first, several inputs, and what is handed on beside them."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import InputError


def seeded(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules).double().eval()


pytestmark = pytest.mark.usefixtures("seed")


def wider(network: nn.Sequential, dims: int) -> nn.Sequential:
    """The same network of images: every dimension that is missing is one of size 1."""
    layers: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, nn.Conv1d | nn.Conv3d):
            new = nn.Conv2d(layer.in_channels, layer.out_channels, 1).double()
            new.kernel_size = (1, *layer.kernel_size) if dims == 1 else layer.kernel_size[1:]
            new.padding = (0, *layer.padding) if dims == 1 else layer.padding[1:]  # type: ignore[assignment]
            weight = layer.weight.data
            new.weight.data = weight.unsqueeze(2) if dims == 1 else weight.squeeze(2)
            new.bias = layer.bias
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm3d):
            new = nn.BatchNorm2d(layer.num_features).double()
            new.load_state_dict(layer.state_dict())
        elif isinstance(layer, nn.MaxPool1d):
            new = nn.MaxPool2d((1, layer.kernel_size))  # type: ignore[arg-type]
        elif isinstance(layer, nn.MaxPool3d):
            new = nn.MaxPool2d(layer.kernel_size[1:])  # type: ignore[index]
        elif isinstance(layer, nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool3d):
            new = nn.AdaptiveAvgPool2d(1)
        else:
            new = copy.deepcopy(layer)
        layers.append(new)
    return nn.Sequential(*layers).eval()


def signal_network() -> nn.Sequential:
    return seeded(
        nn.Conv1d(2, 6, 5, padding=2),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(6, 6, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


def volume_network() -> nn.Sequential:
    return seeded(
        nn.Conv3d(2, 6, (1, 3, 3), padding=(0, 1, 1)),
        nn.BatchNorm3d(6),
        nn.ReLU(),
        nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(6, 6, (1, 3, 3)),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


@pytest.mark.parametrize("options", [{}, {"rule": "epsilon"}, {"rule": "alpha2_beta1"}, {"max_pool": "winner"}])
@pytest.mark.parametrize("input_rule", ["ones", "activation", "flat"])
def test_a_signal_is_an_image_of_one_row_and_a_volume_one_of_one_slice(
    options: dict[str, Any], input_rule: str
) -> None:
    signal, volume = torch.randn(3, 2, 20).double(), torch.randn(3, 2, 1, 12, 10).double()
    for network, x, dims, axis in ((signal_network(), signal, 1, 2), (volume_network(), volume, 3, 2)):
        image = x.unsqueeze(axis) if dims == 1 else x.squeeze(axis)
        of_image = LRP(wider(network, dims), input_rule=input_rule, **options).attribute(image)
        found, sums = LRP(network, input_rule=input_rule, **options).attribute(x, return_sums=True)
        assert found.shape == x.shape
        torch.testing.assert_close(found, of_image.reshape(x.shape), rtol=1e-10, atol=1e-14)
        if not options or "max_pool" in options:
            torch.testing.assert_close(found.flatten(1).sum(1), sums["output"], rtol=1e-10, atol=0)


def test_a_table_is_an_image_of_one_pixel() -> None:
    table = torch.randn(4, 6).double()
    network = seeded(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))
    image = seeded(nn.Conv2d(6, 9, 1), nn.ReLU(), nn.Flatten(), nn.Linear(9, 3))
    image[0].weight.data, image[0].bias = network[0].weight.data[..., None, None], network[0].bias  # type: ignore[union-attr]
    image[3].load_state_dict(network[2].state_dict())
    found = LRP(network, input_rule="activation").attribute(table)
    expected = LRP(image, input_rule="activation").attribute(table[..., None, None])
    torch.testing.assert_close(found, expected[..., 0, 0], rtol=1e-10, atol=1e-14)
    # By hand, in one layer: positive contributions, of the probability.
    one = seeded(nn.Linear(6, 3, bias=False))
    p, target = one(table).softmax(1).amax(1), one(table).argmax(1)
    positive = (one[0].weight[target] * table).clamp(min=0)
    by_hand = positive / positive.sum(1, keepdim=True) * p[:, None]
    torch.testing.assert_close(LRP(one, input_rule="activation").attribute(table), by_hand.detach())


class Both(nn.Module):
    """A picture and a table make one answer."""

    def __init__(self) -> None:
        super().__init__()
        self.of_image = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.of_table, self.head = nn.Linear(5, 4), nn.Linear(8, 3)

    def forward(self, image: Tensor, table: Tensor, weight: Tensor | float = 1.0) -> Tensor:
        return self.head(torch.cat([self.of_image(image) * weight, self.of_table(table).relu()], 1))


def both() -> tuple[nn.Module, Tensor, Tensor]:
    return Both().double().eval(), torch.randn(2, 3, 8, 8).double(), torch.randn(2, 5).double()


def test_several_inputs_share_the_start() -> None:
    model, image, table = both()
    lrp = LRP(model, input_rule="activation")
    (of_image, of_table), sums = lrp.attribute((image, table), return_sums=True)
    assert of_image.shape == image.shape
    assert of_table.shape == table.shape
    total = of_image.sum((1, 2, 3)) + of_table.sum(1)
    torch.testing.assert_close(total, sums["output"], rtol=1e-10, atol=0)
    torch.testing.assert_close(total, sums["input"], rtol=1e-10, atol=0)
    named = lrp.attribute({"table": table, "image": image})
    assert list(named) == ["table", "image"]
    torch.testing.assert_close((named["image"], named["table"]), (of_image, of_table), rtol=0, atol=0)
    assert lrp.check((image, table)).gap < 1e-9
    # One tensor with both in it, taken apart by the network, is the same.

    class InOne(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x[:, :192].reshape(-1, 3, 8, 8), x[:, 192:])

    together = LRP(InOne().eval(), input_rule="activation").attribute(torch.cat([image.flatten(1), table], 1))
    torch.testing.assert_close(together, torch.cat([of_image.flatten(1), of_table], 1), rtol=1e-10, atol=1e-14)
    (alone,) = LRP(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).double()).attribute((image,))
    assert alone.shape == image.shape


def test_what_is_handed_on_receives_nothing_and_counts() -> None:
    model, image, table = both()
    lrp = LRP(model)
    weight = torch.tensor([[0.0], [1.0]]).double()
    _, of_table = lrp.attribute((image, table), forward_kwargs={"weight": weight})
    assert not torch.equal(of_table[0], lrp.attribute((image, table))[1][0])
    assert torch.equal(of_table[1], lrp.attribute((image, table))[1][1])
    alone, sums = lrp.attribute(image, return_sums=True, forward_kwargs={"table": table})
    torch.testing.assert_close(alone.sum((1, 2, 3)), sums["output"], rtol=1e-10, atol=0)


def test_relevance_within_and_of_a_network_of_signals() -> None:
    network, x = signal_network(), torch.randn(2, 2, 20).double()
    inside, sums = LRP(network).attribute(x, at=["2", "5"], return_sums=True)
    assert {name: tuple(each.shape) for name, each in inside.items()} == {"2": (2, 6, 20), "5": (2, 6, 8)}
    for each in inside.values():
        torch.testing.assert_close(each.sum((1, 2)), sums["output"], rtol=1e-10, atol=0)
    assert LRP(network).check(x).gap < 1e-9


IMAGE, TABLE = torch.rand(2, 3, 8, 8), torch.rand(2, 5)


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ((IMAGE, TABLE[:1]), {}, r"the first dimension of all is the batch, but inputs\[0\] has 2, inputs\[1\] has 1"),
        ({"image": IMAGE, "table": TABLE[:1]}, {}, r"inputs\['table'\] has 1"),
        ([IMAGE, TABLE], {}, "expected a tensor with the batch first, a tuple or a dictionary of such, not list"),
        ((), {}, "the tuple is empty"),
        ((IMAGE, None), {}, r"inputs\[1\]: expected a tensor with the batch first, not NoneType"),
        ((IMAGE, TABLE[0]), {}, r"inputs\[1\]: expected the batch first, \(N, ...\), not \(5,\): .* sample\[None\]"),
        ((IMAGE, TABLE > 0), {}, r"inputs\[1\]: .* not torch.bool: a mask is handed on with forward_kwargs="),
        ((IMAGE, TABLE / 0), {}, r"inputs\[1\]: some values are NaN or infinite"),
        (
            {"image": IMAGE, "tabel": TABLE},
            {},
            "the model does not accept image: .*unexpected keyword argument 'tabel'",
        ),
        (
            {"image": IMAGE},
            {"forward_kwargs": {"image": IMAGE}},
            "forward_kwargs: 'image' is one of the inputs already",
        ),
        (IMAGE, {"forward_kwargs": [TABLE]}, "forward_kwargs: expected the network's further arguments by name"),
        (IMAGE, {"forward_kwargs": {"lengths": 3}}, "does not accept .*unexpected keyword argument 'lengths'"),
        ((IMAGE, TABLE), {"at": "all"}, "at='all' is of images, one floating point tensor"),
    ],
)
def test_inputs_that_cannot_be_used(given: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        LRP(Both()).attribute(given, **options)
    assert "\n" not in str(error.value)


def test_one_sample_without_a_batch_gets_right_advice() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3))
    with pytest.raises(InputError, match=r"single input of shape \(3, 8, 8\) is inputs\[None\]"):
        LRP(model).attribute(IMAGE[0])
    with pytest.raises(InputError, match=r"\(2, 3, 1, 8, 8\)") as error:
        LRP(model).attribute(IMAGE[:, :, None])
    assert "inputs[None]" not in str(error.value)
    with pytest.raises(InputError, match='start="evidence" is of images'):
        LRP(signal_network(), start="evidence").attribute(torch.rand(2, 2, 20).double())
