"""What every call of captum needs: gradients switched on, a known score, and silence about both."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from relsplit.checks import one_of


@contextmanager
def captum_call() -> Iterator[None]:
    """Gradients on, wherever the caller is, and without captum's notes that it sets hooks and requires gradients."""
    with torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def with_score(network: nn.Module, score: str) -> nn.Module:
    """``network`` with the explained score as its output: ``"logit"`` or ``"probability"`` (softmax)."""
    return network if score == "logit" else nn.Sequential(network, nn.Softmax(dim=1))


def check_score(score: str) -> None:
    """Raises InputError for a score that :func:`with_score` does not know."""
    one_of("score", score, ("logit", "probability"))
