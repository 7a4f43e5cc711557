"""The relevance that a map starts from: one class score per image."""

from typing import Literal

import torch
from torch import Tensor

Start = Literal["probability", "logit", "one"]


def start_relevance(logits: Tensor, target: Tensor, start: Start) -> Tensor:
    """Return (N, classes) with the explained class's probability, logit or 1, and zero elsewhere."""
    index = target.unsqueeze(1)
    if start == "one":
        value = torch.ones_like(index, dtype=logits.dtype)
    else:
        value = (logits.softmax(1) if start == "probability" else logits).gather(1, index)
    return torch.zeros_like(logits).scatter_(1, index, value)
