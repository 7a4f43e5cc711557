"""Which samples an evaluation uses: the same number of every class, chosen by a seed."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from relsplit.bench.data.catalogue import Sample
from relsplit.errors import InputError
from relsplit.options import Count, Seed, checked_options

SamplingStyle = Literal["first_in_shuffle", "stratified", "development", "confirmation"]
_HALVES = ("development", "confirmation")


@checked_options
def class_balanced(
    samples: Sequence[Sample],
    num_samples: Count,
    seed: Seed = 42,
    style: SamplingStyle = "first_in_shuffle",
    class_names: Sequence[str] | None = None,
) -> tuple[Sample, ...]:
    """Chooses ``num_samples`` of the samples, equally many of every class that occurs among them.

    When ``num_samples`` is no multiple of the number of classes, every class gives the whole part and a seeded choice
    of classes gives one more each.

    Args:
        samples: what to choose from.
        num_samples: how many to choose.
        seed: of the choice.
        style: "first_in_shuffle" goes through one shuffle of all samples and takes the first ones of each class
            (released code, seed 42); the result keeps the order of the shuffle. "stratified" draws from every class by
            itself; the result takes the classes in turns, so that every leading part of it is balanced, too.
        class_names: names for error messages.

    Raises:
        InputError: there are fewer samples in all, or in a class, than asked for.
    """
    samples = candidates(samples, seed, style)
    if num_samples > len(samples):
        raise InputError(f"num_samples={num_samples}, but there are only {len(samples)} samples: ask for fewer")
    quota = _quota([sample.label for sample in samples], num_samples, seed, class_names)
    return _first_in_shuffle(samples, quota, seed) if style == "first_in_shuffle" else _stratified(samples, quota, seed)


def candidates(samples: Sequence[Sample], seed: int, style: SamplingStyle) -> tuple[Sample, ...]:
    """Return the samples that a style chooses from: all, or one half of them.

    A half has half of every class, up to one sample; classes with an odd number give that one to the halves in turns.
    """
    if style not in _HALVES:
        return tuple(samples)
    turn = {label: first % 2 for first, label in enumerate(sorted({sample.label for sample in samples}))}
    halves: tuple[list[Sample], list[Sample]] = ([], [])
    for place in torch.randperm(len(samples), generator=_generator(seed)).tolist():
        sample = samples[place]
        halves[turn[sample.label]].append(sample)
        turn[sample.label] = 1 - turn[sample.label]
    return tuple(halves[_HALVES.index(style)])


def most_balanced(samples: Sequence[Sample]) -> int:
    """Return how many samples can be chosen with equally many of every class that occurs among them."""
    available = Counter(sample.label for sample in samples)
    return min(available.values(), default=0) * len(available)


def _quota(labels: Sequence[int], num_samples: int, seed: int, class_names: Sequence[str] | None) -> dict[int, int]:
    """How many samples each occurring label gives."""
    available = Counter(labels)
    present = sorted(available)
    each, remainder = divmod(num_samples, len(present))
    order = torch.randperm(len(present), generator=_generator(seed)).tolist()
    with_one_more = {present[place] for place in order[:remainder]}
    quota = {label: each + (label in with_one_more) for label in present}
    for label, wanted in quota.items():
        if available[label] < wanted:
            name = class_names[label] if class_names is not None else f"with label {label}"
            raise InputError(
                f"num_samples={num_samples} takes {wanted} samples of every class, but class {name} has only "
                f"{available[label]}: ask for at most {min(available.values()) * len(present)}"
            )
    return quota


def _first_in_shuffle(samples: Sequence[Sample], quota: dict[int, int], seed: int) -> tuple[Sample, ...]:
    left = dict(quota)
    chosen = []
    for index in _loader_order(len(samples), seed):
        label = samples[index].label
        if left[label]:
            left[label] -= 1
            chosen.append(samples[index])
    return tuple(chosen)


def _loader_order(length: int, seed: int) -> list[int]:
    """The order of a shuffling ``DataLoader``, which draws from the generator once before it permutes."""
    generator = _generator(seed)
    loader: DataLoader[Tensor] = DataLoader(
        torch.arange(length),  # type: ignore[arg-type]  # a tensor has the two methods that a map-style dataset needs
        batch_size=max(length, 1),
        shuffle=True,
        generator=generator,
    )
    return [int(index) for batch in loader for index in batch]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _stratified(samples: Sequence[Sample], quota: dict[int, int], seed: int) -> tuple[Sample, ...]:
    generator = _generator(seed)
    by_label: dict[int, list[Sample]] = {label: [] for label in quota}
    for sample in samples:
        by_label[sample.label].append(sample)
    columns = []
    for label, wanted in quota.items():
        members = by_label[label]
        order = torch.randperm(len(members), generator=generator).tolist()
        columns.append([members[place] for place in order[:wanted]])
    longest = max(len(column) for column in columns)
    return tuple(column[turn] for turn in range(longest) for column in columns if turn < len(column))
