"""Cutting a validation split out of the official training split."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch

from relsplit.bench.data.catalogue import Sample
from relsplit.bench.data.sampling import class_balanced
from relsplit.errors import InputError
from relsplit.options import Limits, Seed, checked_options

ValidationStyle = Literal["random", "stratified", "tail"]
NumVal = Annotated[int, Limits(minimum=0)]


@checked_options
def with_validation(
    samples: Sequence[Sample], num_val: NumVal | None, seed: Seed = 42, style: ValidationStyle = "random"
) -> tuple[Sample, ...]:
    """The samples in their order, with ``num_val`` of those in the split "train" moved to the split "val".

    Args:
        samples: of any split; those outside "train" stay as they are.
        num_val: number of validation samples; None takes what is left above the whole part of 90% (released code:
            600 of the 5,994 training images of CUB-200-2011).
        seed: of the choice.
        style: "random" ignores the classes (released code), "stratified" draws equally many of every class, "tail"
            takes the last ones of every class.

    Raises:
        InputError: there are not enough training samples, in all or in a class.
    """
    train = [sample for sample in samples if sample.split == "train"]
    wanted = len(train) - len(train) * 9 // 10 if num_val is None else num_val
    if not 0 <= wanted < max(len(train), 1):
        raise InputError(f"num_val={wanted} validation samples cannot be cut from {len(train)} training samples")
    if wanted == 0:
        return tuple(samples)
    if style == "random":
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed)).tolist()
        chosen = [train[place] for place in order[len(train) - wanted :]]
    elif style == "stratified":
        chosen = list(class_balanced(train, wanted, seed, "stratified"))
    else:
        chosen = _tail(train, wanted)
    moved = {sample.sample_id for sample in chosen}
    return tuple(replace(sample, split="val") if sample.sample_id in moved else sample for sample in samples)


def _tail(train: Sequence[Sample], wanted: int) -> list[Sample]:
    by_label: dict[int, list[Sample]] = {}
    for sample in train:
        by_label.setdefault(sample.label, []).append(sample)
    each, remainder = divmod(wanted, len(by_label))
    chosen: list[Sample] = []
    for place, label in enumerate(sorted(by_label)):
        count = each + (place < remainder)
        if count > len(by_label[label]):
            raise InputError(
                f"num_val={wanted} takes {count} of every class, but label {label} has {len(by_label[label])}"
            )
        chosen += by_label[label][len(by_label[label]) - count :]
    return chosen
