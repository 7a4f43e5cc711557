"""A strided convolution's transpose, phase by phase, is the gradient of the convolution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relsplit.lrp.layers.phases import is_better_by_phases, phases, transpose_by_phases
from relsplit.lrp.layers.weights import FULL, POSITIVE


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    size=st.tuples(st.integers(7, 20), st.integers(7, 20)),
    stride=st.integers(2, 4),
    channels=st.integers(1, 3),
    channels_last=st.booleans(),
)
def test_equal_to_the_gradient(
    kernel: tuple[int, int],
    padding: tuple[int, int],
    size: tuple[int, int],
    stride: int,
    channels: int,
    channels_last: bool,
) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, channels, *kernel, generator=generator, dtype=torch.float64)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    h = torch.rand(2, channels, *size, generator=generator, dtype=torch.float64).contiguous(memory_format=layout)
    h.requires_grad_()
    for part in (FULL, POSITIVE):
        output = torch.conv2d(h, part.of(weight), None, stride, padding)
        s = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        (expected,) = torch.autograd.grad(output, h, s)
        of_phases = phases(part, [stride, stride]).of(weight)
        found = transpose_by_phases(s.contiguous(memory_format=layout), of_phases, [stride] * 2, list(padding), h)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("inputs", "kernel", "stride", "dilation", "groups", "expected"),
    [
        (3, 3, [2, 2], [1, 1], 1, True),
        (3, 3, [1, 1], [1, 1], 1, False),  # as many channels as before
        (64, 3, [2, 2], [1, 1], 1, False),  # fills the vector units by itself
        (3, 3, [2, 1], [1, 1], 1, False),
        (3, 3, [2, 2], [2, 2], 1, False),
        (4, 3, [2, 2], [1, 1], 4, False),
        (3, 16, [16, 16], [1, 1], 1, True),  # patches
        (3, 17, [16, 16], [1, 1], 1, False),
        (64, 2, [2, 2], [1, 1], 1, False),
    ],
)
def test_which_layers_it_is_for(
    inputs: int, kernel: int, stride: list[int], dilation: list[int], groups: int, expected: bool
) -> None:
    weight = torch.zeros(8, inputs // groups, kernel, kernel)
    assert is_better_by_phases(weight, stride, dilation, groups) is expected
