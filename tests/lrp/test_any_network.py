"""Networks whose forward is any Python, networks with several outputs, and what cannot be explained."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from residual_networks import images, small_resnet
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.lrp import LRP, UnsupportedModelError


class Stubborn(nn.Module):
    """A ResNet whose forward looks at shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small_resnet()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        assert x.shape[1] == 3
        if x.shape[-1] > 20:
            x = x * 1.0
        return self.body(x) if mask is None else self.body(x * mask)


def test_control_flow_leaves_the_map_as_it_is() -> None:
    x = images(2)
    expected, sums = LRP(small_resnet()).attribute(x, return_sums=True)
    relevance, found = LRP(Stubborn()).attribute(x, return_sums=True)
    torch.testing.assert_close(relevance, expected, rtol=1e-4, atol=1e-7)
    assert [name.removeprefix("body.") for name in found] == list(sums)
    for name, values in found.items():
        torch.testing.assert_close(values, sums[name.removeprefix("body.")], rtol=1e-5, atol=0)


def test_any_shape_and_changed_weights() -> None:
    model = Stubborn()
    explainer = LRP(model)
    shapes = {shape: explainer.attribute(images(*shape)) for shape in ((2, 33), (1, 33), (2, 40))}
    for shape, before in shapes.items():
        assert torch.equal(explainer.attribute(images(*shape)), before)
    with torch.no_grad():
        model.body.fc.weight.mul_(-1)
    changed = explainer.attribute(images(2, 33))
    assert not torch.allclose(changed, shapes[2, 33])
    torch.testing.assert_close(changed, LRP(model).attribute(images(2, 33)))


def test_the_model_is_left_as_it_was() -> None:
    model = Stubborn().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = list(model.parameters())
    LRP(model).attribute(images(1))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(now is then for now, then in zip(model.parameters(), parameters, strict=True))
    assert all(parameter.requires_grad and parameter.grad is None for parameter in parameters)


@dataclasses.dataclass
class Answer:
    """As Hugging Face's networks answer."""

    loss: Tensor | None
    logits: Tensor


class Answering(nn.Module):
    """Answers in the form that ``form`` makes of two heads' scores."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.body = small_resnet()

    def forward(self, x: Tensor) -> object:
        scores = self.body(x)
        forms = {
            "dataclass": Answer(None, scores),
            "dict": {"features": scores * 2, "logits": scores},
            "tuple": (scores, scores * 2),
            "one": (scores,),
        }
        return forms[self.form]


@pytest.mark.parametrize(
    ("form", "output"),
    [
        ("dict", None),
        ("dict", "logits"),
        ("dict", 1),
        ("tuple", 0),
        ("tuple", -2),
        ("tuple", lambda both: both[1] - both[0]),
        ("one", None),
        ("dict", lambda answer: answer["features"] / 2),
    ],
)
def test_part_of_the_output(form: str, output: object) -> None:
    x = images(1)
    expected = LRP(small_resnet()).attribute(x, target=3)
    relevance = LRP(Answering(form), output=output).attribute(x, target=3)  # type: ignore[arg-type]
    torch.testing.assert_close(relevance, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("form", "output", "words"),
    [
        ("tuple", None, r"which part of its output .* output=.* 2 parts, 0 to 1"),
        ("tuple", 2, "no part 2: it returns 2 parts"),
        ("dict", "scores", "no part 'scores': it returns a dict with features, logits"),
    ],
)
def test_parts_that_are_not_there(form: str, output: object, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        LRP(Answering(form), output=output).attribute(images(1))  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_a_hugging_face_network() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8,
        num_labels=5,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.ViTForImageClassification(config).eval()
    x = images(2, 32)
    relevance, sums = LRP(model).attribute(x, return_sums=True)
    probability = model(x).logits.softmax(1).amax(1)
    torch.testing.assert_close(sums["output"], probability.detach())
    torch.testing.assert_close(relevance.flatten(1).sum(1), probability.detach(), rtol=1e-5, atol=0)


class TwoImages(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return (left - right).mean((2, 3))


class DataDependent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if float(x.sum()) > 0 else x.amax((2, 3))


def test_control_flow_that_depends_on_the_data() -> None:
    x = images(1)
    for each in (x.abs(), -x.abs()):
        relevance, sums = LRP(DataDependent()).attribute(each, return_sums=True)
        torch.testing.assert_close(sums["output"], DataDependent()(each).softmax(1).amax(1))
        torch.testing.assert_close(relevance.sum((1, 2, 3)), sums["output"])


class Spectrum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x.flatten(2)).real.mean(2)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), 3)


class Spectral(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scores = Spectrum()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.scores(x))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (TwoImages(), "missing 1 required positional argument: 'right'"),
        (
            Spectral(),
            r"'_fft_r2c' in module 'scores', called at .*test_any_network.py:\d+, has no relevance rule: .*leaves=",
        ),
        (Constant(), "does not depend on its inputs"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
            r"logits or probabilities \(1, classes\), .* not a tensor \(1, 4, 31, 31\)",
        ),
    ],
)
def test_networks_that_cannot_be_explained(model: nn.Module, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        LRP(model).attribute(images(1))
    assert "\n" not in str(error.value)


def test_a_leaf_that_returns_several_tensors() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(33, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            rows = x[:, 0]
            return self.attention(rows, rows, rows)[0].mean(1)

    with pytest.raises(InputError, match="a leaf must return one tensor"):
        LRP(Attending(), leaves={nn.MultiheadAttention: "input_times_gradient"}).attribute(images(1))


def test_a_script_keeps_its_code_to_itself() -> None:
    with pytest.raises(UnsupportedModelError, match="TorchScript"):
        LRP(torch.jit.trace(nn.Flatten(), images(1)))  # type: ignore[no-untyped-call]
