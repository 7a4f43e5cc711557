"""A method has one colour, and no two methods of the package have the same."""

import re
from pathlib import Path

from relsplit.pictures.colours import CONTROLS, METHODS, OTHERS, colour_of

EXPLAINERS = sorted(path.stem for path in (Path(__file__).parents[1] / "conf/explainer").glob("*.yaml"))


def test_every_explainer_of_the_package_has_a_colour_of_its_own() -> None:
    assert {*METHODS, *CONTROLS} == set(EXPLAINERS)
    colours = [colour_of(name) for name in EXPLAINERS]
    assert len(set(colours)) == len(colours)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in (*colours, *OTHERS))


def test_a_control_is_grey_and_a_method_is_not() -> None:
    def channels(colour: str) -> set[str]:
        return {colour[1:3], colour[3:5], colour[5:7]}

    assert all(len(channels(colour)) == 1 for colour in CONTROLS.values())
    assert all(len(channels(colour)) > 1 for colour in (*METHODS.values(), *OTHERS))


def test_a_method_of_the_users_own_has_the_same_colour_in_every_picture() -> None:
    assert colour_of("brightness") == colour_of("brightness")
    assert len({colour_of(f"mine_{index}") for index in range(50)}) > 1
