"""As in a web service: threads that share explainers and a network, predictions and new explainers in between."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any

import pytest
import torch
from small_networks import seeded_images, small_resnet
from torch import Tensor, nn

from relsplit import LRP
from relsplit.explainers import AbsLRP, GradCAM

THREADS, CALLS, IMAGES = 8, 200, 5


@pytest.fixture
def network() -> nn.Module:
    return small_resnet()


def requests() -> Iterator[tuple[str, int]]:
    """What is asked for, and for which image: maps of three kinds, and plain predictions."""
    return islice(zip(cycle(["lrp", "grad_cam", "abs_lrp", "predict"]), cycle(range(IMAGES)), strict=False), CALLS)


def explainers(network: nn.Module) -> dict[str, Any]:
    return {"lrp": LRP(network), "grad_cam": GradCAM(network), "abs_lrp": AbsLRP(network, contrastive=False)}


def test_eight_threads_get_what_one_by_one_would_have(network: nn.Module) -> None:
    x = seeded_images(IMAGES, size=32)

    def answer(shared: dict[str, Any], kind: str, index: int) -> Tensor:
        image = x[index : index + 1]
        if kind == "predict":
            with torch.no_grad():
                return network(image)
        return shared[kind].attribute(image, index)

    alone = explainers(network)
    expected = {(kind, index): answer(alone, kind, index) for kind, index in set(requests())}

    shared, begun, stop, failures = explainers(network), threading.Event(), threading.Event(), []
    made = 0

    def make_others() -> None:
        nonlocal made
        while not (stop.is_set() or failures):
            try:
                other = explainers(network)
                index = made % IMAGES
                torch.testing.assert_close(
                    other["lrp"].attribute(x[index : index + 1], index), expected["lrp", index], rtol=1e-9, atol=1e-12
                ) if ("lrp", index) in expected else None
                made += 1
            except Exception as error:
                failures.append(error)
            begun.set()

    maker = threading.Thread(target=make_others)
    maker.start()
    try:
        begun.wait()
        with ThreadPoolExecutor(THREADS) as pool:
            asked = list(requests())
            found = list(pool.map(lambda request: answer(shared, *request), asked))
    finally:
        stop.set()
        maker.join()
    assert not failures, failures[0]
    assert made > 0
    wrong = [
        request
        for request, each in zip(asked, found, strict=True)
        if not torch.allclose(each, expected[request], rtol=1e-6, atol=1e-9)
    ]
    assert not wrong, f"{len(wrong)} of {CALLS}: {sorted({kind for kind, _ in wrong})}"
