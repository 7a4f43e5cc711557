"""Classes that exclude each other, for methods that set one against others."""

from relsplit.errors import InputError
from relsplit.networks.answer import Answer


def check_has_rivals(
    answer: Answer, method: str, explained: object = None, instead: str = "choose another explainer"
) -> None:
    """Check that a network answers with a number for each class, and that a class is explained.

    Args:
        answer: of the network.
        method: that needs it, as its configuration is called.
        explained: what is, of the answer.
        instead: what to do where there are no rivals.

    Raises:
        InputError: one number speaks for two classes; or it is no class.
    """
    check_is_class(explained, method)
    if answer.is_single:
        raise InputError(
            f"{method}: it sets one class against all others, and the model answers with one number for two: {instead}"
        )


def check_is_class(explained: object, method: str) -> None:
    """Check that a class is explained.

    Raises:
        InputError: it is something else.
    """
    if callable(explained):
        raise InputError(
            f"{method} is of classes: name one, of a part of the output with output=, or choose an explainer for "
            f"targets like {explained!r}, such as ours"
        )
