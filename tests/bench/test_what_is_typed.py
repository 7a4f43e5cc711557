"""What is typed arrives as it was meant: names of files with any sign, and flags wherever they stand."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import given
from hypothesis import strategies as st

from relsplit.bench.command import arranged
from relsplit.bench.configuration.quoting import quoted
from relsplit.errors import InputError


def understood(argument: str) -> object:
    """The value that Hydra reads."""
    return OverridesParser.create().parse_override(argument).value()


@given(st.text(st.characters(blacklist_characters='[]{},"', blacklist_categories=("Cc", "Cs")), min_size=1))
def test_any_name_of_a_file_is_read_as_it_was_typed(name: str) -> None:
    argument = f"dataset.root=/photographs/{name}x"
    try:
        understood(argument)
    except HydraException:
        assert understood(quoted(argument)) == f"/photographs/{name}x"
    else:
        assert quoted(argument) == argument


@pytest.mark.parametrize(
    "value", ["epoch=3-step=20.ckpt", "Vögel (1).jpg", "it's.jpg", "~/a&b;c", "layer4[-1]", "features[0].conv[-2]"]
)
def test_texts_are_texts_in_lists_too(value: str) -> None:
    assert understood(quoted(f"key={value}")) == value
    assert understood(quoted(f"key=[a.jpg,{value},7,null]")) == ["a.jpg", value, 7, None]


@pytest.mark.parametrize(
    "argument",
    [
        "num_samples=4", "+map.sine=null", "~logger", "explainer=ours,edges", "seed=range(1,3)", "split={a: [b, c]}",
        "device=${oc.env:DEVICE}", "x='a=b'", "protocol=[published,strict]", "task.images=[a.jpg", 'root="a=b', "word",
    ],
)  # fmt: skip
def test_what_may_be_meant_otherwise_is_left_as_it_is(argument: str) -> None:
    assert quoted(argument) == argument


def test_flags_may_stand_anywhere() -> None:
    overrides = ["explainer=ours,edges", "seed=3"]
    expected = ["-m", "--config-dir", "own", *overrides]
    assert arranged(["explainer=ours,edges", "-m", "seed=3", "--config-dir", "own"]) == expected
    assert arranged(expected) == expected


@pytest.mark.parametrize("typed", [["--unheard_of"], ["--cfg", "nothing"], ["explainer=ours", "--info", "explainer"]])
def test_a_flag_that_is_none_is_one_line(typed: list[str]) -> None:
    with pytest.raises(InputError, match=r"(--unheard_of|--cfg|--info).*relsplit --help"):
        arranged(typed)
