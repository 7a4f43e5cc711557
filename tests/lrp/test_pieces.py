"""Pieces of large tensors cover every element once, whatever the memory format."""

import pytest
import torch
from torch import Tensor

from relsplit.lrp.pieces import ELEMENTS, in_pieces

LARGE = (5, 8, 96, 96)  # more than one piece, and no whole number of them


def numbered(layout: torch.memory_format) -> Tensor:
    return torch.arange(5 * 8 * 96 * 96, dtype=torch.float64).view(LARGE).contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_is_written_to_pieces_is_written_everywhere(layout: torch.memory_format) -> None:
    source, target = numbered(layout), torch.zeros(LARGE, dtype=torch.float64).contiguous(memory_format=layout)
    pieces = list(in_pieces(target, source))
    assert [piece.numel() for piece, _ in pieces][:-1] == [ELEMENTS] * (len(pieces) - 1)
    assert len(pieces) > 1
    for part, read in pieces:
        part.add_(read)
    assert torch.equal(target, source)


def test_tensors_in_different_order_are_taken_whole() -> None:
    first, second = numbered(torch.contiguous_format), numbered(torch.channels_last)
    assert [(a.shape, b.shape) for a, b in in_pieces(first, second)] == [(first.shape, second.shape)]
    broadcast = first[:1].expand(LARGE)
    assert len(list(in_pieces(first, broadcast))) == 1
