"""From a model configuration to a network, with every way in which the two may not fit."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from torch import nn

from relsplit.bench.models.build import initial_model, load_model, training_command
from relsplit.errors import InputError

MODELS = Path(__file__).parents[3] / "conf" / "model"


def config(**model: Any) -> DictConfig:
    return OmegaConf.create(
        {
            "seed": 7,
            "dataset": {"name": "tiny", "image_size": 32},
            "model": {"name": "test", "weights": None, "checkpoint": None, **model},
        }
    )


def resnet18(**model: Any) -> DictConfig:
    return config(_target_="torchvision.models.resnet18", **{"num_classes": None, **model})


class Mean(nn.Module):
    """A user's own network, with its own argument and no num_classes."""

    def __init__(self, outputs: int, scale: float = 1.0) -> None:
        super().__init__()
        self.fc = nn.Linear(3, outputs)
        self.scale = scale

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * self.fc(images.mean((2, 3)))


MEAN = f"{__name__}.Mean"


def test_the_dataset_gives_the_number_of_classes_and_the_seed_the_parameters() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    network = initial_model(resnet18(), 12)
    again = initial_model(resnet18(), 12)
    assert network.training
    assert network.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 12)
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert torch.equal(before, torch.random.get_rng_state()), "the caller's generator was used"
    other = resnet18()
    other.seed = 8
    assert not torch.equal(network.conv1.weight, initial_model(other, 12).conv1.weight)  # type: ignore[union-attr, arg-type]


def test_the_check_of_the_outputs_leaves_the_statistics_alone() -> None:
    assert int(initial_model(resnet18(), 12).bn1.num_batches_tracked) == 0  # type: ignore[union-attr, arg-type]


def test_a_checkpoint_is_loaded_for_explaining(tmp_path: Path) -> None:
    trained = torchvision.models.resnet18(num_classes=12)
    torch.save(trained.state_dict(), tmp_path / "a.pt")
    network = load_model(resnet18(checkpoint=str(tmp_path / "a.pt")), 12)
    assert not network.training
    assert torch.equal(network.fc.weight, trained.fc.weight)  # type: ignore[union-attr, arg-type]


def test_a_network_without_weights_is_the_same_in_every_run() -> None:
    torch.manual_seed(1)
    first = load_model(resnet18(), 3).state_dict()
    torch.manual_seed(2)
    again = load_model(resnet18(), 3).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert torch.initial_seed() == 2, "the generator of whoever calls is left alone"


def test_any_importable_network() -> None:
    network = load_model(config(_target_=MEAN, outputs=5, scale=2.0), 5)
    assert isinstance(network, Mean)
    assert network.scale == 2.0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"_target_": "no_such_package.Net"}, "no_such_package"),
        ({"_target_": "torchvision.models.resnet1800"}, "resnet1800"),
        ({"_target_": MEAN}, "outputs"),
        ({"_target_": MEAN, "outputs": 5, "colour": "red"}, "colour"),
        ({"_target_": "collections.OrderedDict"}, "makes a OrderedDict"),
        ({"_target_": "???"}, "model._target_ is not set"),
        ({"_target_": MEAN, "outputs": 4}, "(1, 4), but dataset=tiny has 5 classes"),
        ({"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 5, "kernel_size": 1}, "32x32 image"),
        ({"_target_": "torch.nn.Identity"}, "(1, 3, 32, 32)"),
        ({"_target_": MEAN, "outputs": 5, "weights": "IMAGENET1K_V1"}, "torchvision has no weights"),
        ({"_target_": "torchvision.models.resnet18", "weights": "V9"}, "torchvision has IMAGENET1K_V1"),
        (
            {"_target_": MEAN, "outputs": 5, "checkpoint": "/no/file.pt"},
            "relsplit task=train dataset=tiny model=test",
        ),
    ],
)
def test_what_cannot_be_built_is_named_in_one_line(model: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_model(config(**model), 5)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_for_200_classes_do_not_fit_a_dataset_with_1000(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    torch.save(torchvision.models.resnet18(num_classes=200).state_dict(), path)
    with pytest.raises(InputError, match=r"fc\.weight \(200, 512\) in the file, \(1000, 512\)"):
        load_model(resnet18(checkpoint=str(path)), 1000)
    with pytest.raises(InputError, match=r"\(1, 200\), but dataset=tiny has 1000 classes"):
        load_model(resnet18(checkpoint=str(path), num_classes=200), 1000)


@pytest.fixture
def pretrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OrderedDict[str, torch.Tensor]:
    """A file where torchvision expects its download of ResNet18's weights; its content is random, as is its hash."""
    torch.manual_seed(1)
    state = OrderedDict(torchvision.models.resnet18().state_dict())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = Path(torch.hub.get_dir()) / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    torch.save(state, file)
    return state


def test_torchvision_weights_for_explaining_and_as_a_start(pretrained: OrderedDict[str, torch.Tensor]) -> None:
    explained = load_model(resnet18(weights="IMAGENET1K_V1", num_classes=1000), 1000).state_dict()
    assert all(torch.equal(value, pretrained[name]) for name, value in explained.items())
    start = initial_model(resnet18(weights="IMAGENET1K_V1"), 12).state_dict()
    differing = [name for name, value in start.items() if not torch.equal(value, pretrained[name])]
    assert differing == ["fc.weight", "fc.bias"]


def test_a_file_as_a_start(tmp_path: Path) -> None:
    torch.save(Mean(7).state_dict(), tmp_path / "start.pt")
    torch.save({"fc.weight": torch.ones(5, 4), "fc.bias": torch.ones(5)}, tmp_path / "other.pt")
    initial_model(config(_target_=MEAN, outputs=5, weights=str(tmp_path / "start.pt")), 5)
    with pytest.raises(InputError, match=r"fc\.weight \(5, 4\)"):
        initial_model(config(_target_=MEAN, outputs=5, weights=str(tmp_path / "other.pt")), 5)


def test_without_a_network_the_download_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"put https://\S+/resnet18-f37072fd\.pth at \S+resnet18-f37072fd\.pth"):
        load_model(resnet18(weights="IMAGENET1K_V1", num_classes=1000), 1000)


def test_a_network_with_an_attention_branch_starts_from_its_backbones_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    branched = config(
        _target_="relsplit.bench.models.attention_branch.with_attention_branch",
        backbone={"_target_": "torchvision.models.resnet18"},
        num_classes=4,
        weights="IMAGENET1K_V1",
    )
    with pytest.raises(InputError, match=r"put https://\S+/resnet18-f37072fd\.pth at"):
        initial_model(branched, 4)
    branched.model.weights = None
    assert initial_model(branched, 4).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 4)


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_model_of_the_configuration(path: Path) -> None:
    with initialize_config_dir(str(MODELS.parent), version_base="1.3"):
        model = compose("config", [f"model={path.stem}"]).model
    assert OmegaConf.is_missing(model, "name") if path.stem == "timm" else model.name == path.stem
    assert {"_target_", "weights", "checkpoint"} <= set(model)
    if model.weights is not None and path.stem != "timm":
        constructor = get_object(model.get("backbone", model)["_target_"])
        assert model.weights in torchvision.models.get_model_weights(constructor).__members__


def test_the_command_that_makes_a_checkpoint() -> None:
    assert training_command(config()) == "relsplit task=train dataset=tiny model=test seed=7"


def test_images_of_a_size_that_the_network_does_not_take_are_named() -> None:
    """torchvision's vision transformers assert it."""
    transformer = config(
        _target_="torchvision.models.VisionTransformer", image_size=64, patch_size=16, num_layers=1, num_heads=1,
        hidden_dim=8, mlp_dim=8, num_classes=None,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"fails on a 32x32 image \(Wrong image height! Expected 64 but got 32!\)"):
        initial_model(transformer, 12)
