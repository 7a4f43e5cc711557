"""Tokens are shown as they are, on the colours of their relevance, and nothing that they hold is obeyed."""

import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from relsplit.errors import InputError
from relsplit.pictures import tokens_html, tokens_terminal

WORDS = ["the", "music", "was", "superb", "<b>&\"'", "Ġdull"]
RELEVANCE = torch.tensor([0.0, 0.04, 0.0, 0.8, 0.2, -0.4])


class Shown(HTMLParser):
    """The text of a page, its tags, and the background of each piece of text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.styles: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert {name for name, _ in attrs} <= {"style", "title"}
        self.styles.append(dict(attrs).get("style") or "")

    def handle_endtag(self, tag: str) -> None:
        self.styles.pop()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((data, self.styles[-1]))


def backgrounds(page: str) -> dict[str, tuple[int, ...]]:
    found = {}
    for text, style in Shown(page).texts:
        if colour := re.search(r"background:rgb\((\d+),(\d+),(\d+)\)", style):
            found[text] = tuple(map(int, colour.groups()))
    return found


def test_html_shows_the_words_and_nothing_else() -> None:
    page = tokens_html(WORDS, RELEVANCE)
    shown = Shown(page)
    assert shown.tags == {"p", "span", "small"}
    assert [text for text, style in shown.texts if "background" in style] == WORDS
    assert page.isascii()
    assert "//" not in page


def test_numbers_stand_at_the_greater_relevance_alone() -> None:
    shown = Shown(tokens_html(WORDS, RELEVANCE))
    assert [text for text, style in shown.texts if "background" not in style] == ["+0.80", "+0.20", "-0.40"]
    assert tokens_terminal(WORDS, RELEVANCE, colour=False) == (
        "the music was superb(+0.80) <b>&\"'(+0.20) Ġdull(-0.40)"
    )


def test_zero_is_white_what_is_for_is_red_and_what_is_against_is_blue_on_one_scale() -> None:
    colours = backgrounds(tokens_html(WORDS, RELEVANCE))
    assert colours["the"] == colours["was"] == (255, 255, 255)
    assert colours["superb"][0] > max(colours["superb"][1:])
    assert colours["Ġdull"][2] > max(colours["Ġdull"][:2])
    fading = [255 - min(colours[word]) for word in ("superb", "Ġdull", "<b>&\"'", "music", "the")]
    assert fading == sorted(fading, reverse=True)
    twice = tokens_html(WORDS, 2 * RELEVANCE)
    assert backgrounds(twice) == colours


def test_a_terminal_gets_the_colours_of_the_page() -> None:
    line = tokens_terminal(WORDS, RELEVANCE, colour=True)
    found = re.findall(r"\x1b\[48;2;(\d+);(\d+);(\d+);38;2;0;0;0m([^(\x1b]+)(?:\([^)]*\))?\x1b\[0m", line)
    assert {word: tuple(map(int, colour)) for *colour, word in found} == backgrounds(tokens_html(WORDS, RELEVANCE))
    plain = tokens_terminal(WORDS, RELEVANCE, colour=False)
    assert re.sub(r"\x1b\[[\d;]*m", "", line) == plain


@pytest.mark.parametrize(
    ("terminal", "environment", "coloured"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, environment: dict[str, str], coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert ("\x1b" in tokens_terminal(WORDS, RELEVANCE)) is coloured


def test_what_commands_a_terminal_is_written_out() -> None:
    words = ["a\x1b[31mb", "line\nfeed", "\u202eright to left", "ok"]
    for shown in (tokens_terminal(words, torch.ones(4), colour=False), tokens_html(words, torch.ones(4))):
        assert not set(shown) & {"\x1b", "\n", "\u202e"}
    assert "a\\x1b[31mb" in tokens_terminal(words, torch.ones(4), colour=False)
    assert "line\\nfeed" in tokens_html(words, torch.ones(4))


@pytest.mark.parametrize(
    ("relevance", "written"),
    [(0.9, "+0.90"), (-0.1, "-0.10"), (0.034, "+0.034"), (-2e-6, "-2e-06"), (12.3, "+12.30"), (1e300, "+1e+300")],
)
def test_numbers_say_something_of_relevance_of_any_size(relevance: float, written: str) -> None:
    given = torch.tensor([relevance], dtype=torch.float64)
    assert tokens_terminal(["a"], given, colour=False) == f"a({written})"
    assert f">{written}</small>" in tokens_html(["a"], given)


def test_a_text_without_relevance_is_white() -> None:
    assert set(backgrounds(tokens_html(WORDS, torch.zeros(6))).values()) == {(255, 255, 255)}
    assert tokens_terminal(WORDS, np.zeros(6), colour=False) == " ".join(WORDS)


@pytest.mark.parametrize("show", [tokens_html, tokens_terminal])
@pytest.mark.parametrize(
    ("tokens", "relevance", "said"),
    [
        ("superb", torch.ones(6), "not one text"),
        ([1, 2], torch.ones(2), "expected text, not int"),
        (["a", "b"], torch.ones(3), "one value for each of 2 tokens, not 3"),
        (["a", "b"], torch.ones(1, 2), r"expected \(T,\), none of them 0, not \(1, 2\)"),
        ([], torch.ones(0), r"not \(0,\)"),
        (["a", "b"], torch.tensor([1.0, torch.nan]), "NaN or infinity"),
        (["a", "b"], [1.0, 2.0], "must be a tensor or an array"),
        (None, torch.ones(1), "a list of words in their order, not a NoneType"),
        ({"a", "b"}, torch.ones(2), "a list of words in their order, not a set"),
        ({"a": 0, "b": 1}, torch.ones(2), "a list of words in their order, not a dict"),
    ],
)
def test_what_cannot_be_shown_is_one_line(show: object, tokens: object, relevance: object, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        show(tokens, relevance)  # type: ignore[operator]
    assert "\n" not in str(caught.value)
