"""Every metric reads one logit, two logits and probabilities of the same network as the same answer."""

import copy
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.metrics import GlobalAttributionEvaluation, InsertionDeletion
from relsplit.metrics.gae.score import global_attribution_evaluation
from relsplit.metrics.insertion_deletion.curves import score_curves
from relsplit.metrics.insertion_deletion.protocols.nominal import Strict
from relsplit.metrics.pixel_flipping import flipping_area
from relsplit.metrics.road import imputed_survival
from relsplit.metrics.sensitivity_n import subset_correlation

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MAPS = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
TARGETS = torch.tensor([1, 0, 0, 1])


class OneLogit(nn.Module):
    """A network with one logit for two classes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.layers = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(216, 1)).double()

    def forward(self, x: Tensor) -> Tensor:
        return 4 * self.layers(x)


class Flat(OneLogit):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, 0]


class TwoLogits(OneLogit):
    def forward(self, x: Tensor) -> Tensor:
        z = super().forward(x)
        return torch.cat([-z, z], 1) / 2


class OneSigmoid(OneLogit):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sigmoid()


class Softmax(TwoLogits):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(1)


def curves(model: nn.Module) -> Tensor:
    scores = score_curves(model, IMAGES, MAPS, TARGETS, {"": Strict(step=7)})[""]
    return torch.stack([scores.insertion, scores.deletion])


def gradients(network: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Maps that do not depend on how the network's output is written."""
    two = TwoLogits()

    def explain(images: Tensor, targets: Tensor) -> Tensor:
        variable = images.clone().requires_grad_()
        score = two(variable).gather(1, targets[:, None]).sum()
        return (torch.autograd.grad(score, variable)[0] * images).sum(1)

    return explain


def gae(model: nn.Module) -> Tensor:
    scores = global_attribution_evaluation(model, gradients(model), IMAGES, TARGETS)
    return torch.stack([scores.faithfulness, scores.robustness, scores.contrastiveness, scores.positives.double()])


METRICS = {
    "insertion and deletion": curves,
    "pixel flipping": lambda model: flipping_area(model, IMAGES, MAPS, TARGETS),
    "road": lambda model: imputed_survival(model, IMAGES, MAPS, TARGETS),
    "sensitivity-n": lambda model: subset_correlation(model, IMAGES, MAPS, TARGETS),
    "gae": gae,
}


@pytest.mark.filterwarnings("ignore:the network's answer is used as probabilities")
@pytest.mark.parametrize("kind", [OneLogit, Flat, OneSigmoid, Softmax])
@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_the_same_answer_has_the_same_score(metric: Any, kind: type[nn.Module]) -> None:
    expected = metric(TwoLogits())
    found = metric(kind())
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    assert not torch.allclose(metric(TwoLogits()), metric(_other_direction()))


def _other_direction() -> nn.Module:
    network = TwoLogits()
    with torch.no_grad():
        for parameter in network.layers[3].parameters():
            parameter.neg_()
    return network


def test_a_metric_says_once_that_it_has_found_probabilities() -> None:
    metric = InsertionDeletion(Softmax(), protocol="strict")
    with pytest.warns(UserWarning, match="used as probabilities"):
        metric.update(IMAGES, MAPS, TARGETS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.update(IMAGES, MAPS, TARGETS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for scores, network in (("probabilities", Softmax()), ("logits", TwoLogits()), ("auto", OneLogit())):
            decided = InsertionDeletion(network, protocol="strict", scores=scores)
            decided.update(IMAGES, MAPS, TARGETS)
            torch.testing.assert_close(decided.compute()["id_score"], metric.compute()["id_score"])
    with pytest.raises(InputError, match="scores must be"):
        InsertionDeletion(Softmax(), scores="odds")
    with pytest.raises(InputError, match="one of the model's 2 classes"):
        InsertionDeletion(OneLogit()).update(IMAGES, MAPS, TARGETS + 1)


def test_what_changes_between_updates_is_scored(tmp_path: Any) -> None:
    network = TwoLogits().eval()
    metric = GlobalAttributionEvaluation(network, gradients(network), cache_dir=tmp_path)
    metric.update(IMAGES, TARGETS)
    before = metric.compute()["faithfulness"]
    network.layers[1] = nn.Sigmoid()  # no weight has changed
    fresh = GlobalAttributionEvaluation(copy.deepcopy(network), gradients(network))
    fresh.update(IMAGES, TARGETS)
    metric.reset()
    metric.update(IMAGES, TARGETS)
    assert metric.compute()["faithfulness"] == fresh.compute()["faithfulness"] != before


def test_a_network_in_training_is_scored_in_evaluation_mode_and_never_switched() -> None:
    network = OneLogit()
    network.layers.insert(2, nn.BatchNorm2d(6).double())
    network.layers.insert(3, nn.Dropout(0.5))
    expected = curves(copy.deepcopy(network).eval())
    network.train()
    done, wrong = threading.Event(), []

    def watch() -> None:
        while not done.is_set():
            wrong.extend(module for module in network.modules() if not module.training)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        found = curves(network)
    finally:
        done.set()
        watcher.join()
    assert torch.equal(found, expected)
    assert not wrong
    assert not network.layers[2].num_batches_tracked.item()
