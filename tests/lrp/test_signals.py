"""An error that a handler of a signal raises while a network runs is not blamed on the network."""

import os
import signal
from collections.abc import Iterator

import pytest
import torch
from between import Between
from plain_networks import images
from torch import Tensor

from relsplit import LRP
from relsplit.explainers.deeplift import DeepLift
from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.networks.inference_copy import inference_copy


class TimeIsUpError(RuntimeError):
    pass


def time_is_up(number: int, frame: object) -> None:
    raise TimeIsUpError("time is up")


class Alarm:
    def __call__(self, number: int, frame: object) -> None:
        time_is_up(number, frame)


@pytest.fixture(params=[time_is_up, Alarm()], ids=["function", "object"])
def alarm(request: pytest.FixtureRequest) -> Iterator[None]:
    former = signal.signal(signal.SIGUSR1, request.param)
    yield
    signal.signal(signal.SIGUSR1, former)


def interrupted(x: Tensor) -> Tensor:
    os.kill(os.getpid(), signal.SIGUSR1)
    return x * 1.0


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("count", [1, 4])  # four images lie channels last, and are tried again as they were
def test_while_the_network_runs(count: int) -> None:
    with pytest.raises(TimeIsUpError, match="time is up"):
        LRP(Between(interrupted)).attribute(images(count), 1)


@pytest.mark.usefixtures("alarm")
def test_on_the_way_back() -> None:
    class Stopped:
        conserves = True

        def propagate(self, layer: LinearLayer, h: Tensor, relevance: Tensor, **options: object) -> Tensor:
            os.kill(os.getpid(), signal.SIGUSR1)
            return h

    with pytest.raises(TimeIsUpError, match="time is up"):
        LRP(Between(lambda x: x), rule=Stopped()).attribute(images(), 1)


@pytest.mark.usefixtures("alarm")
def test_while_a_network_is_traced() -> None:
    network = Between(interrupted).eval()
    with pytest.raises(TimeIsUpError, match="time is up"):
        DeepLift(network).attribute(images(), torch.tensor(1))
    with pytest.raises(TimeIsUpError, match="time is up"):
        inference_copy(network)
