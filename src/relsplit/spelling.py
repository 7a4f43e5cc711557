"""What somebody may have meant who misspelt a name."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" with up to three names that are spelt alike; "" where there is none.

    Args:
        word: as it was typed.
        known: names that there are.

    Examples:
        >>> did_you_mean("num_sample", ["seed", "num_samples"])
        '; did you mean num_samples?'
    """
    near = difflib.get_close_matches(word, list(dict.fromkeys(known)), n=3, cutoff=0.6)
    return f"; did you mean {', '.join(near)}?" if near else ""
