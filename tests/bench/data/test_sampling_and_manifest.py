"""Which samples an evaluation uses."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.manifest import read_manifest, write_manifest
from relsplit.bench.data.sampling import SamplingStyle, candidates, class_balanced, most_balanced
from relsplit.bench.data.validation_split import with_validation
from relsplit.errors import InputError

ROOT = Path("/data")


def samples(counts: list[int], split: str = "test") -> list[Sample]:
    """Samples with as many of each label as counted, sorted by label."""
    return [
        Sample(f"{split}{label}-{k}", ROOT / f"{split}{label}-{k}.jpg", label, split)  # type: ignore[arg-type]
        for label, count in enumerate(counts)
        for k in range(count)
    ]


def test_first_in_shuffle_is_what_the_released_loop_takes() -> None:
    """Peer: the released code's loader (shuffled by a generator of seed 42), walked until every class is full."""
    pool = samples([9, 8, 12])
    loader = DataLoader(list(range(len(pool))), batch_size=1, shuffle=True, generator=torch.Generator().manual_seed(42))
    counts: Counter[int] = Counter()
    expected = []
    for (index,) in (batch.tolist() for batch in loader):
        if counts[pool[index].label] < 4:
            counts[pool[index].label] += 1
            expected.append(pool[index])
    assert list(class_balanced(pool, 12, seed=42)) == expected


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(4, 9), min_size=1, max_size=7),
    share=st.floats(0.01, 1.0),
    style=st.sampled_from(["first_in_shuffle", "stratified"]),
    seed=st.integers(0, 10_000),
)
def test_classes_are_equal_up_to_one_and_nothing_comes_twice(
    counts: list[int], share: float, style: str, seed: int
) -> None:
    pool = samples(counts)
    wanted = max(1, int(share * 4 * len(counts)))
    chosen = class_balanced(pool, wanted, seed, style)  # type: ignore[arg-type]
    assert len(chosen) == len(set(chosen)) == wanted
    per_class = [sum(sample.label == label for sample in chosen) for label in range(len(counts))]
    assert max(per_class) - min(per_class) <= 1
    assert chosen == class_balanced(pool, wanted, seed, style)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=7), seed=st.integers(0, 10_000))
def test_the_two_halves_share_nothing_and_are_everything(counts: list[int], seed: int) -> None:
    pool = samples(counts)
    development, confirmation = (candidates(pool, seed, style) for style in ("development", "confirmation"))
    assert not set(development) & set(confirmation)
    assert set(development) | set(confirmation) == set(pool)
    for label, count in enumerate(counts):
        found = sorted(sum(sample.label == label for sample in half) for half in (development, confirmation))
        assert found == [count // 2, count - count // 2]


def test_a_choice_of_a_half_lies_in_it() -> None:
    pool = samples([6, 7, 8])
    halves: tuple[SamplingStyle, ...] = ("development", "confirmation")
    for style in halves:
        half = candidates(pool, 42, style)
        chosen = class_balanced(pool, 9, style=style)
        assert set(chosen) <= set(half)
        assert Counter(sample.label for sample in chosen) == {0: 3, 1: 3, 2: 3}
        assert most_balanced(half) == 9
    with pytest.raises(InputError, match=r"num_samples=12, but there are only 11"):
        class_balanced(pool, 12, style="confirmation")


def test_every_leading_part_of_a_stratified_choice_is_balanced() -> None:
    chosen = class_balanced(samples([6, 6, 6]), 9, style="stratified")
    assert [sorted(s.label for s in chosen[k : k + 3]) for k in (0, 3, 6)] == [[0, 1, 2]] * 3


def test_classes_that_do_not_occur_are_not_asked_for() -> None:
    """A part of ImageNet with 2 of 1,000 classes gives its samples."""
    pool = [Sample(str(k), ROOT / str(k), 500 * (k % 2), "test") for k in range(10)]
    assert Counter(s.label for s in class_balanced(pool, 4)) == {0: 2, 500: 2}


def test_too_few_samples_are_named_with_their_class_and_counts() -> None:
    pool = samples([5, 2, 5])
    with pytest.raises(InputError, match=r"takes 3 samples of every class, but class B has only 2: ask for at most 6"):
        class_balanced(pool, 9, class_names=("A", "B", "C"))
    with pytest.raises(InputError, match=r"num_samples=13, but there are only 12"):
        class_balanced(pool, 13)
    with pytest.raises(InputError, match="at least 1"):
        class_balanced(pool, 0)
    with pytest.raises(InputError, match="style"):
        class_balanced(pool, 3, style="best")  # type: ignore[arg-type]


@pytest.mark.parametrize("style", ["random", "stratified", "tail"])
def test_validation_takes_from_train_only(style: str) -> None:
    pool = samples([10, 10], "train") + samples([4, 4], "test")
    cut = with_validation(pool, 4, 7, style)  # type: ignore[arg-type]
    assert Counter(s.split for s in cut) == {"train": 16, "val": 4, "test": 8}
    assert [s.sample_id for s in cut] == [s.sample_id for s in pool]
    if style == "tail":
        assert [s.sample_id for s in cut if s.split == "val"] == ["train0-8", "train0-9", "train1-8", "train1-9"]
    with pytest.raises(InputError, match="cannot be cut"):
        with_validation(pool, 20, 7, style)  # type: ignore[arg-type]


def manifest_of(tmp_path: Path) -> tuple[Path, Catalogue, tuple[Sample, ...]]:
    catalogue = Catalogue(("A", "B"), tuple(samples([3, 3])), ROOT)
    chosen = class_balanced(catalogue.samples, 4)
    write_manifest(tmp_path / "m.csv", chosen, catalogue)
    return tmp_path / "m.csv", catalogue, chosen


def test_a_manifest_keeps_samples_and_order(tmp_path: Path) -> None:
    path, catalogue, chosen = manifest_of(tmp_path)
    assert read_manifest(path, catalogue.samples, catalogue) == chosen
    assert [file.name for file in tmp_path.iterdir()] == ["m.csv"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sample_id,path,label,class", "id,file", "line 1: not a manifest"),
        (".jpg", ".png", r"line 2: .*\.png is not in the split"),
        (",A\n", ",Z\n", "of another dataset"),
        (",A\n", "\n", "3 fields instead of 4"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path, catalogue, _ = manifest_of(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        read_manifest(path, catalogue.samples, catalogue)


def test_missing_empty_and_doubled_manifests_are_refused(tmp_path: Path) -> None:
    path, catalogue, _ = manifest_of(tmp_path)
    with pytest.raises(InputError, match="there is no manifest"):
        read_manifest(tmp_path / "other.csv", catalogue.samples, catalogue)
    header, first, *_ = path.read_text().splitlines(keepends=True)
    path.write_text(header)
    with pytest.raises(InputError, match="names no samples"):
        read_manifest(path, catalogue.samples, catalogue)
    path.write_text(header + first + first)
    with pytest.raises(InputError, match=r"line 3: .* twice"):
        read_manifest(path, catalogue.samples, catalogue)


def test_equal_sample_ids_are_refused() -> None:
    one = Sample("a", ROOT / "x" / "a.jpg", 0, "test")
    other = Sample("a", ROOT / "y" / "a.jpg", 0, "test")
    with pytest.raises(InputError, match="share the sample id"):
        Catalogue(("A",), (one, other), ROOT)
