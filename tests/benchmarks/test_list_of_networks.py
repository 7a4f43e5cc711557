"""The list of networks in docs/networks.md: as its script writes it, complete, and written a section at a time."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "networks.md"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in ("timm", "transformers", "torchvision"):
        pytest.importorskip(needed)
    monkeypatch.setattr(sys, "path", [str(PROJECT / "benchmarks"), *sys.path])


def test_every_network_is_listed_and_conserved_or_refused_in_one_line() -> None:
    from _zoo.case import HEADER
    from _zoo.families import FAMILIES
    from _zoo.page import read

    for name, section in read(PAGE, FAMILIES).items():
        assert list(section.rows) == list(section.family.names), name
        for row in section.rows.values():
            cells = dict(zip(HEADER, row, strict=True))
            refused = cells["remark"].startswith("refused: ")
            assert refused != bool(cells["gap"]), row
            assert refused or float(cells["gap"]) <= 1e-5, row


def test_a_section_is_written_anew_and_the_others_stay_as_they_are(tmp_path: Path) -> None:
    from _zoo.families import FAMILIES
    from _zoo.page import read, write

    copy = tmp_path / "networks.md"
    sections = read(PAGE, FAMILIES)
    write(copy, sections)
    assert copy.read_text("utf-8") == PAGE.read_text("utf-8")
    sections["video"].put(["r3d_18", "3×8×64×64", "a | b", "1.0e-07", "99.9", ""])
    write(copy, sections)
    assert [row for row in read(copy, FAMILIES)["video"].rows.values() if "a | b" in row]
    before, after = (page.read_text("utf-8").splitlines() for page in (PAGE, copy))
    changed = [line for line in after if line not in before]
    assert len(after) == len(before)
    assert len(changed) <= 2  # the row, and the versions
    assert all(line.startswith(("| r3d_18", "`python benchmarks/lrp_zoo.py video`")) for line in changed)


class Scores(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(2) if self.scale == 1 else torch.fft.fft(x).real.mean(2)


def test_a_line_says_what_was_given_and_found() -> None:
    from _zoo.case import Case, measured

    x = torch.rand(1, 3, 8, generator=torch.Generator().manual_seed(0))
    name, shapes, explained, gap, forwards, remark = measured("one", [Case(Scores(1), x, "a class", rounds=1)])
    assert (name, shapes, explained, remark) == ("one", "3×8", "a class", "")
    assert float(gap) <= 1e-5
    assert float(forwards) > 0
    *_, gap, forwards, remark = measured("two", [Case(Scores(2), x, "a class")])
    assert (gap, forwards) == ("", "")
    assert remark.startswith("refused: operation '_fft_r2c'")
