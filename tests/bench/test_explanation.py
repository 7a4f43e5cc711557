"""What a method of the user's own hands back is looked at before anything is measured with it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from relsplit.bench.explain.explanation import ConfiguredExplainer
from relsplit.errors import InputError
from small_runs import configured, with_value

METHOD = """
class Method:
    forward_equivalents = 0.0

    def __init__(self, model):
        pass

    def attribute(self, images, target=None):
        return {returned}
"""


class Means(nn.Module):
    """Scores that are the channels' means."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


def explainer(folder: Path, returned: str, monkeypatch: pytest.MonkeyPatch) -> ConfiguredExplainer:
    name = "method_" + returned.encode().hex()
    (folder / f"{name}.py").write_text(METHOD.format(returned=returned))
    monkeypatch.syspath_prepend(folder)
    settings = configured(folder, "explainer=edges")
    return ConfiguredExplainer(with_value(settings, "explainer._target_", f"{name}.Method"), Means())


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("images.mean(1).tolist()", "attribution maps must be a tensor or an array, not list"),
        ("None", "must be a tensor"),
        ("images.mean((1, 2))", "must be (N, H, W) or (N, C, H, W), not (2, 8)"),
        ("images.mean(1) + 0j", "attribution maps must be real numbers, not torch.complex64"),
        ("images.mean(1) / 0", "contains NaN or infinity"),
        ("images.mul_(0).mean(1)", "explainer=edges writes over the images or classes that it is given"),
        ("images.mean(1) + target.add_(1).sum()", "explainer=edges writes over the images or classes"),
    ],
)
def test_what_is_no_map_is_refused(
    returned: str, said: str, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explains, images = explainer(photographs, returned, monkeypatch), torch.rand(2, 3, 8, 8)
    with pytest.raises(InputError) as caught:
        explains.explain(images.clone(), torch.tensor([0, 1]))
    assert said in str(caught.value)
    with pytest.raises(InputError):
        explains.maps(images.clone(), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    "returned", ["images.mean(1)", "images.mean(1).numpy()", "images", "2 * images.requires_grad_()", "images > 0.5"]
)
def test_what_is_a_map_is_taken(returned: str, photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    explanation = explainer(photographs, returned, monkeypatch).explain(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
    assert explanation.maps.shape == (2, 8, 8)
    assert not explanation.maps.requires_grad
