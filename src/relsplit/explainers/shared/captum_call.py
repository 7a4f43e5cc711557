"""What every call of captum needs: gradients switched on, a known score, and silence about both."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

Score = Literal["logit", "probability"]
"""What is explained of the class: its logit, or its softmax probability."""


@contextmanager
def captum_call() -> Iterator[None]:
    """Gradients on, wherever the caller is, and without captum's notes that it sets hooks and requires gradients."""
    with torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def with_score(network: nn.Module, score: Score) -> nn.Module:
    """``network`` with the explained score as its output: ``"logit"`` or ``"probability"`` (softmax)."""
    return network if score == "logit" else nn.Sequential(network, nn.Softmax(dim=1))
