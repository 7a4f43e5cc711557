"""Tokens on the colours of their relevance, as HTML."""

import html
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from relsplit.pictures.signed import tint
from relsplit.pictures.tokens import WORTH_A_NUMBER, checked_tokens, number

_PARAGRAPH = "margin:.3em 0;padding:.2em 0;background:#fff;color:#111;font:16px/1.5 sans-serif"
_PLACE = "display:inline-block;vertical-align:top;text-align:center;margin:0 .1em"
_TOKEN = "padding:.1em .25em;border-radius:.25em;white-space:pre-wrap"
_NUMBER = "display:block;font-size:11px;line-height:1.2;color:#555"


def tokens_html(tokens: Sequence[str], relevance: "Tensor | npt.NDArray[np.floating]") -> str:
    """Return a paragraph of HTML: every token on its colour, the greater relevance written below it.

    What speaks for the explained output is red, what speaks against it is blue, and 0 is white. Every token tells its
    relevance under the mouse.

    Args:
        tokens: T words, or parts of words, as ``tokenizer.convert_ids_to_tokens(ids)`` returns them.
        relevance: (T,), such as ``LRP(model).attribute(ids[None])[0]``.

    Returns:
        ASCII without a script or a style sheet, to be written to a file, joined with others, or shown in a notebook:
        ``IPython.display.HTML(...)``. Whatever tokens hold is shown as text.

    Raises:
        InputError: one text in place of tokens, relevance of another shape, or a value that is NaN or infinite.

    Examples:
        >>> import torch
        >>> shown = tokens_html(["a", "<b>", "film"], torch.tensor([0.0, 0.9, -0.1]))
        >>> "&lt;b&gt;" in shown, "<b>" in shown
        (True, False)
    """
    spans = [_span(*each) for each in checked_tokens(tokens, relevance)]
    paragraph = f'<p style="{_PARAGRAPH}">{" ".join(spans)}</p>'
    return paragraph.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _span(word: str, relevance: float, share: float) -> str:
    red, green, blue = tint(share)
    colour = f"background:rgb({red},{green},{blue})"
    token = f'<span style="{_TOKEN};{colour}" title="{relevance:+.3g}">{html.escape(word)}</span>'
    below = f'<small style="{_NUMBER}">{number(relevance)}</small>' if abs(share) >= WORTH_A_NUMBER else ""
    return f'<span style="{_PLACE}">{token}{below}</span>'
