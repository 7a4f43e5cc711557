"""Labels in a picture as they are."""


def plain(text: str) -> str:
    r"""Return what Matplotlib shows as ``text``: between two dollar signs it would read a formula, ``$\frac$`` say."""
    return text.replace("$", r"\$")
