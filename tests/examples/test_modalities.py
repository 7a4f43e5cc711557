"""One example a kind of input and output: the network is a good one, its map conserves and finds the known cause.

Every example explains with the library's defaults, but for the table of the two inputs, and draws its picture.
"""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from relsplit import LRP

EXAMPLES = Path(__file__).parents[2] / "examples"
CAUSE = "share of the positive relevance"


def printed(name: str, result: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """The numbers that an example prints, by what it says of them."""
    runpy.run_path(str(EXAMPLES / name))["main"](result)
    lines = re.findall(r"^(.*) (\S+)$", capsys.readouterr().out, re.MULTILINE)
    return {what: float(value) for what, value in lines if re.fullmatch(r"[\d.e-]+", value)}


@pytest.mark.parametrize(
    ("name", "at_least"),
    [
        ("explain_a_signal.py", {"accuracy on held-out beats": 0.95, f"{CAUSE} on the wave": 0.8}),
        ("explain_a_volume.py", {"accuracy on held-out volumes": 0.9, f"{CAUSE} on the ball": 0.7}),
        ("explain_a_detection.py", {"held-out birds found": 0.85, f"{CAUSE} in the explained box": 0.8}),
        (
            "explain_a_segmentation.py",
            {"overlap with held-out birds": 0.6, f"{CAUSE} on the bird": 0.75},
        ),
        (
            "explain_two_inputs.py",
            {
                "accuracy on held-out cases": 0.95,
                f"{CAUSE} on the cross": 0.65,
                f"{CAUSE} on the high measurement": 0.75,
            },
        ),
    ],
)
def test_a_known_cause_is_found(
    name: str,
    at_least: dict[str, float],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    picture = tmp_path / "picture.png"
    found = printed(name, picture, capsys)
    assert found["gap"] < 1e-5
    assert set(at_least) <= set(found)
    for what, least in at_least.items():
        assert found[what] >= least, what
    drawn = np.asarray(Image.open(picture).convert("RGB"))
    assert min(drawn.shape[:2]) > 200
    assert drawn.std() > 10


def test_a_known_word_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "text.html"
    found = printed("explain_a_text.py", page, capsys)
    assert found["accuracy on held-out reviews"] >= 0.95
    assert found["gap"] < 1e-5
    assert found[f"{CAUSE} on the word"] >= 0.8
    assert page.read_text().count("<p style=") == 4


def test_padding_of_a_text_receives_nothing() -> None:
    shown = runpy.run_path(str(EXAMPLES / "explain_a_text.py"))
    torch.manual_seed(0)
    ids, labels, _ = shown["reviews"](30, 2)
    relevance = LRP(shown["Reader"]().eval()).attribute(ids, labels)
    assert (ids == 0).any()
    assert not relevance[ids == 0].any()


def test_the_causes_are_drawn_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    _, _, waves = runpy.run_path(str(EXAMPLES / "explain_a_signal.py"))["beats"](200, 3)
    _, _, balls = runpy.run_path(str(EXAMPLES / "explain_a_volume.py"))["scans"](60, 3)
    _, birds = runpy.run_path(str(EXAMPLES / "bird_scenes.py"))["scenes"](40, 3)
    for places in (waves[1::2], balls[1::2], birds[:, 0]):
        often = places.float().mean(0)
        assert often.max() < 0.85, "a map of one place alone would do"
