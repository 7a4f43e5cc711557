"""What pretrained weights say about their images, and how that meets a dataset."""

from pathlib import Path

import pytest
import torch

from relsplit.bench.configuration.settings import Dataset, Model, Settings
from relsplit.bench.models.build import load_model
from relsplit.bench.models.named_weights import check_preprocessing, named_preprocessing
from relsplit.errors import InputError
from small_runs import settings_of


def config(*overrides: str) -> Settings:
    return settings_of("dataset=imagenet", *overrides)


def parts(*overrides: str) -> tuple[Model, Dataset]:
    cfg = config(*overrides)
    return cfg.model, cfg.dataset


@pytest.mark.parametrize("name", ["vit_b_16_imagenet", "vgg16_imagenet", "resnet50_imagenet"])
def test_torchvisions_networks_fit_the_dataset(name: str) -> None:
    model, dataset = parts(f"model={name}")
    expected = named_preprocessing(model)
    assert expected is not None
    assert expected.image_size == 224
    assert check_preprocessing(model, dataset) is None


def test_timms_vit_expects_other_colours_and_says_what_to_type() -> None:
    model, dataset = parts("model=timm", "model.name=vit_tiny_patch16_224")
    with pytest.raises(InputError, match=r"normalised with mean \[0\.5,0\.5,0\.5\]") as caught:
        check_preprocessing(model, dataset)
    typed = str(caught.value).partition(": say ")[2].replace("'", "").split()
    model, dataset = parts("model=timm", "model.name=vit_tiny_patch16_224", *typed)
    assert check_preprocessing(model, dataset) is None
    assert dataset.transform.arguments["interpolation"] == "bicubic"
    assert (dataset.resize, dataset.image_size) == (248, 224)


def test_another_size_is_a_warning() -> None:
    model, dataset = parts("model=vgg16_imagenet", "dataset.resize=224")
    warning = check_preprocessing(model, dataset)
    assert warning is not None
    assert "resized to 256 (bilinear) and cut to 224, not 224 (bilinear)" in warning


def test_of_random_parameters_nothing_is_said_and_of_a_file_that_does_not_say_it_what_is_done(tmp_path: Path) -> None:
    model, dataset = parts("model=timm", "model.name=vit_tiny_patch16_224", "model.weights=null")
    assert check_preprocessing(model, dataset) is None
    file = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(1)}, file)
    for setting in ("weights", "checkpoint"):
        options = ("model=timm", "model.name=vit_tiny_patch16_224", "model.weights=null", "dataset.mean=[0,0,0]")
        said = check_preprocessing(*parts(*options, f"model.{setting}={file}"))
        assert said is not None
        assert f"{file} does not say how images are prepared" in said
        assert "mean [0,0,0] and std [0.229,0.224,0.225]" in said


def test_a_timm_network_with_random_parameters_and_from_a_file(tmp_path: Path) -> None:
    small = ("model=timm", "model.name=vit_tiny_patch16_224", "+model.img_size=32", "+model.depth=1")
    small = (*small, "dataset.image_size=32", "dataset.resize=32")
    network = load_model(config(*small, "model.weights=null"), 7)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    torch.save(network.state_dict(), tmp_path / "vit.pt")
    again = load_model(config(*small, "model.weights=null", f"model.checkpoint={tmp_path / 'vit.pt'}", "seed=1"), 7)
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.name=no_such_network"], "no pretrained weights of this name"),
        (["model.name=vit_tiny_patch16_224", "model.weights=IMAGENET1K_V1"], "give pretrained"),
    ],
)
def test_names_that_timm_does_not_know(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        named_preprocessing(parts("model=timm", *overrides)[0])
