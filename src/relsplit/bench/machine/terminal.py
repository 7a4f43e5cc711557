"""What a task says on the terminal."""

from rich.console import Console
from rich.text import Text

from relsplit.bench.machine.processes import first_process


def say(text: str, title: str = "") -> None:
    """Print one line, which a narrow terminal wraps, in the first of several processes.

    Args:
        text: as it is: brackets in a file's name are no markup.
        title: printed in bold before it.
    """
    if first_process():
        line = Text.assemble((title, "bold"), ": ", text) if title else Text(text)
        Console().print(line, highlight=False, soft_wrap=True)
