"""Classes that exclude each other, for methods that set one against others."""

from relsplit.errors import InputError
from relsplit.networks.answer import Answer


def check_has_rivals(answer: Answer, method: str) -> None:
    """Check that a network answers with a number for each class.

    Args:
        answer: of the network.
        method: that needs it, as its configuration is called.

    Raises:
        InputError: one number speaks for two classes.
    """
    if answer.is_single:
        raise InputError(
            f"{method}: it sets one class against all others, and the model answers with one number for two: "
            "choose another explainer"
        )
