"""What the HTML pages have in common: a template, and data that a script of theirs reads."""

import json
from importlib import resources
from string import Template
from typing import Any


class Page(Template):
    """A template whose placeholders (%%name) cannot be mistaken for JavaScript's ${name}."""

    delimiter = "%%"


def page_part(name: str) -> str:
    """Return the text of a file beside this one.

    Args:
        name: of the file.
    """
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def embedded(data: Any) -> str:
    """Return JSON that may stand inside a script element.

    Args:
        data: what ``json.dumps`` takes.
    """
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
