"""Tokens on the colours of their relevance, in a terminal."""

import os
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from relsplit.pictures.signed import tint
from relsplit.pictures.tokens import WORTH_A_NUMBER, checked_tokens, number


def tokens_terminal(
    tokens: Sequence[str], relevance: "Tensor | npt.NDArray[np.floating]", colour: "bool | None" = None
) -> str:
    """Return a line to print: every token on its colour, the greater relevance written behind it.

    What speaks for the explained output is red, what speaks against it is blue, and 0 is white.

    Args:
        tokens: T words, or parts of words.
        relevance: (T,), such as ``LRP(model).attribute(ids[None])[0]``.
        colour: whether colours are used, 24 bits by ANSI's escape sequences; None: where the standard output is a
            terminal that has them, unless the environment's ``NO_COLOR`` is set.

    Returns:
        One line. Without colours it is plain text, and numbers alone show what is relevant.

    Raises:
        InputError: one text in place of tokens, relevance of another shape, or a value that is NaN or infinite.

    Examples:
        >>> import torch
        >>> tokens_terminal(["a", "superb", "film"], torch.tensor([0.0, 0.9, -0.1]), colour=False)
        'a superb(+0.90) film(-0.10)'
    """
    shown = checked_tokens(tokens, relevance)
    in_colour = _has_colours() if colour is None else colour
    return " ".join(_written(*each, in_colour) for each in shown)


def _has_colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _written(word: str, relevance: float, share: float, in_colour: bool) -> str:
    text = f"{word}({number(relevance)})" if abs(share) >= WORTH_A_NUMBER else word
    if not in_colour:
        return text
    red, green, blue = tint(share)
    return f"\x1b[48;2;{red};{green};{blue};38;2;0;0;0m{text}\x1b[0m"
