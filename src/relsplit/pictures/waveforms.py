"""A signal with its relevance below it."""

from numbers import Real

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from relsplit.errors import InputError
from relsplit.pictures.signed import AGAINST, FOR, check_same_shape, real_array, scaled

TWO_SIDED = LinearSegmentedColormap.from_list("against, nothing, for", [AGAINST, "white", FOR])
SHADE = 0.35
"""Opacity of the relevance behind the signal."""


def waveform(
    signal: "Tensor | npt.NDArray[np.floating]",
    relevance: "Tensor | npt.NDArray[np.floating]",
    rate: float | None = None,
) -> Figure:
    """Draw a signal, and below it the relevance of every sample; what is relevant is shaded behind the signal, too.

    Positive relevance is red, negative is blue. All channels share one scale of relevance, each has its own of signal.

    Args:
        signal: (L,) or (C, L), in any unit.
        relevance: of the same shape, such as ``LRP(model).attribute(signal[None])[0]``.
        rate: samples per second, above 0: the axis is time in seconds; None: it counts samples.

    Returns:
        A figure of matplotlib's with two axes a channel, the signal's and the relevance's; ``save`` is its ``savefig``.

    Raises:
        InputError: another or another's shape, a batch, a value that is NaN or infinite, or a rate
            that is no number above 0.

    Examples:
        >>> import torch
        >>> figure = waveform(torch.sin(torch.arange(100) / 5), torch.rand(100), rate=50)
        >>> figure.axes[0].get_ylabel(), figure.axes[1].get_ylabel()
        ('signal', 'relevance')
    """
    values = real_array(signal, "signal", ("L",), ("C", "L"))
    shares = real_array(relevance, "relevance", ("L",), ("C", "L"))
    check_same_shape(shares, values, "signal")
    if rate is not None and not (isinstance(rate, Real) and 0 < rate < np.inf):
        raise InputError(f"rate: expected samples per second, above 0, not {rate}")
    channels, shares = np.atleast_2d(values), np.atleast_2d(shares)
    times = np.arange(channels.shape[1]) / (1 if rate is None else rate)
    count = len(channels)
    figure = Figure(figsize=(8, 0.6 + 2.2 * count), layout="constrained")
    rows = figure.subplots(2 * count, 1, sharex=True, squeeze=False, height_ratios=[2.2, 1] * count)[:, 0]
    relative, limits = scaled(shares), _limits(shares)
    for channel in range(count):
        above, below = rows[2 * channel], rows[2 * channel + 1]
        name = "signal" if count == 1 else f"channel {channel}"
        _draw_signal(above, times, channels[channel], relative[channel], name)
        _draw_relevance(below, times, shares[channel], limits)
    rows[-1].set_xlabel("sample" if rate is None else "time in seconds")
    rows[-1].set_xlim(times[0], times[-1] if len(times) > 1 else 1)
    return figure


def _draw_signal(
    axes: Axes, times: npt.NDArray[np.float64], values: npt.NDArray[np.float64], relative: npt.NDArray[np.float64],
    name: str,
) -> None:  # fmt: skip
    half = (times[1] - times[0]) / 2 if len(times) > 1 else 0.5
    low, high = values.min(), values.max()
    margin = 0.08 * (high - low) or 1.0
    extent = (times[0] - half, times[-1] + half, low - margin, high + margin)
    shade = TWO_SIDED((relative[None] + 1) / 2)
    shade[..., 3] = SHADE * np.abs(relative)[None] ** 0.5  # so that weak relevance is seen
    axes.imshow(shade, extent=extent, aspect="auto", interpolation="nearest", zorder=0)
    axes.plot(times, values, color="0.1", linewidth=1.1)
    axes.set_ylabel(name)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(bottom=False)


def _draw_relevance(
    axes: Axes, times: npt.NDArray[np.float64], shares: npt.NDArray[np.float64], limits: tuple[float, float]
) -> None:
    for part, colour in ((np.maximum(shares, 0), FOR), (np.minimum(shares, 0), AGAINST)):
        axes.fill_between(times, part, color=colour, linewidth=0.6)
    axes.axhline(0, color="0.6", linewidth=0.7)
    axes.set_ylim(*limits)
    axes.set_ylabel("relevance")
    axes.spines[["top", "right"]].set_visible(False)
    # What the colours mean stands where they are.
    for colour, words, height, at in ((FOR, "speaks for", 0.97, "top"), (AGAINST, "speaks against", 0.03, "bottom")):
        if (shares.max() > 0) if colour == FOR else (shares.min() < 0):
            axes.text(0.995, height, words, color=colour, fontsize=8, ha="right", va=at, transform=axes.transAxes)


def _limits(shares: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = min(float(shares.min()), 0.0), max(float(shares.max()), 0.0)
    margin = 0.12 * (high - low) or 1.0
    return low - margin if low < 0 else 0.0, high + margin
