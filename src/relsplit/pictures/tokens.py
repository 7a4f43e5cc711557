"""What tokens look like beside their relevance, wherever they are shown."""

from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np
import numpy.typing as npt

from relsplit.errors import InputError
from relsplit.pictures.signed import real_array, scaled

WORTH_A_NUMBER = 0.1
"""Relevance above this share of the greatest is written out."""


def checked_tokens(tokens: Sequence[str], relevance: object) -> "list[tuple[str, float, float]]":
    """Return each token as it can be shown, its relevance, and that as a share of the greatest, in [-1, 1].

    Args:
        tokens: T words, or parts of words.
        relevance: (T,).

    Raises:
        InputError: one text in place of tokens, a token that is no text, relevance of another shape, or a value that
            is NaN or infinite.
    """
    if isinstance(tokens, str):
        raise InputError("tokens: expected a list of words, not one text: hand in what the tokenizer made of it")
    if not isinstance(tokens, Iterable) or isinstance(tokens, (Set, Mapping)):
        raise InputError(f"tokens: expected a list of words in their order, not a {type(tokens).__name__}")
    words = list(tokens)
    for word in words:
        if not isinstance(word, str):
            raise InputError(f"tokens: expected text, not {type(word).__name__}: tokenizer.convert_ids_to_tokens(ids)")
    shares: npt.NDArray[np.float64] = real_array(relevance, "relevance", ("T",))
    if len(words) != len(shares):
        raise InputError(f"relevance: expected one value for each of {len(words)} tokens, not {len(shares)}")
    shown = ["".join(map(_visible, word)) for word in words]
    return list(zip(shown, shares.tolist(), scaled(shares).tolist(), strict=True))


def number(relevance: float) -> str:
    """Return relevance as it is written beside a token: two decimals, or two digits where these say little."""
    return f"{relevance:+.2f}" if 0.1 <= abs(relevance) < 1000 else f"{relevance:+.2g}"


def _visible(character: str) -> str:
    """A line feed, or what would command a terminal, as Python writes it."""
    return character if character.isprintable() else repr(character)[1:-1]
