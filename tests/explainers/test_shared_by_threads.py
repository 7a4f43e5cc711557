"""Explainers beside other threads: predictions there stay right, and threads that share an explainer get their maps."""

import copy
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from explainer_classes import image_size, one_for_each_class
from explainer_configs import build
from small_networks import seeded_images, small_network
from torch import Tensor, nn

from relsplit.errors import InputError

THREADS = 4


METHODS = one_for_each_class()


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def images(name: str, count: int = 8) -> Tensor:
    return seeded_images(count, size=image_size(name))


def served(network: nn.Module, x: Tensor, act: Callable[[], Any], times: int) -> Counter[str]:
    """What another thread's predictions by ``network`` were while ``act`` ran ``times`` times here."""
    with torch.no_grad():
        expected = network(x)
    seen: Counter[str] = Counter()
    stop, begun = threading.Event(), threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                with torch.no_grad():
                    right = torch.equal(network(x), expected)
                seen["right" if right else "wrong"] += 1
            except Exception as error:
                seen[f"{type(error).__name__}: {error}"] += 1
            begun.set()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        begun.wait()
        for _ in range(times):
            act()
    finally:
        stop.set()
        thread.join()
    return seen


@pytest.mark.parametrize("name", METHODS)
def test_an_unrelated_network_answers_while_an_explainer_is_made(name: str) -> None:
    network = small_network(name)
    unrelated = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    x = torch.rand(1, 3, 8, 8)
    unrelated(x)
    seen = served(unrelated, x, lambda: build(name, network), times=6)
    assert set(seen) == {"right"}


@pytest.mark.parametrize("name", METHODS)
def test_the_network_itself_answers_while_it_is_explained(name: str) -> None:
    network, x = small_network(name), images(name, 1)
    explainer = build(name, network)
    explainer.attribute(x, 1)
    seen = served(network, x, lambda: explainer.attribute(x, 1), times=4)
    assert set(seen) == {"right"}


@pytest.mark.parametrize("name", METHODS)
def test_threads_that_share_an_explainer_get_the_maps_of_their_images(name: str) -> None:
    network, x = small_network(name), images(name, 4)
    explainer = build(name, network)
    reference = build(name, copy.deepcopy(network))
    expected = [reference.attribute(x[i : i + 1], i) for i in range(4)]

    def explain(i: int) -> "Tensor | InputError":
        try:
            return explainer.attribute(x[i % 4 : i % 4 + 1], i % 4)
        except InputError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(explain, range(12)))
    for i, each in enumerate(found):
        if isinstance(each, InputError):  # it may say that it cannot be shared
            assert "thread" in str(each)
            assert "\n" not in str(each)
        else:
            torch.testing.assert_close(each, expected[i % 4], rtol=1e-6, atol=1e-9)


def test_threads_may_share_explainers_that_are_new_to_all_of_them() -> None:
    network, x = small_network("ours"), images("ours", 4)
    reference = build("ours", copy.deepcopy(network))
    expected = [reference.attribute(x[i : i + 1], i) for i in range(4)]
    explainer = build("ours", network)
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda i: explainer.attribute(x[i : i + 1], i), range(4)))
        found += list(pool.map(lambda i: build("ours", network).attribute(x[i : i + 1], i), range(4)))
    for i, each in enumerate(found):
        torch.testing.assert_close(each, expected[i % 4], rtol=1e-9, atol=0)
