"""What is explained of samples, read from what a network answers to inputs that were made of them.

Metrics take something away from N samples and look at what is left of what was explained: the probability of a class,
or what a target of :mod:`relsplit.targets` says. They read it here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from relsplit.checks import checked_target
from relsplit.errors import InputError
from relsplit.networks.answer import Answer, AnswerReader, checked_scores
from relsplit.networks.batches import BatchSize, outputs_in_batches
from relsplit.networks.ending import ends_in_probabilities
from relsplit.networks.outputs import OutputChoice, Part
from relsplit.networks.shared_network import pinned, summed_by_sample, with_rows
from relsplit.targets.detection import Detection
from relsplit.targets.target import Target, TargetFunction, opened, own_part

Indices = npt.NDArray[np.int64]
Found = Sequence[tuple[Any, int]]
"""What the network returned for the samples, batch by batch, each with its number of samples."""


class ClassValues:
    """The probability of a class of each sample.

    Attributes:
        classes: (N,) int64.
    """

    def __init__(self, part: Part, classes: Tensor, read: Callable[[Any, int], Answer]) -> None:
        self.classes = classes
        self._part = part
        self._read = read
        self._first: Answer | None = None

    def answer(self, output: Any, count: int) -> Answer:
        """Return what the network answered ``count`` inputs; what the first answer holds, those that follow hold, too.

        Raises:
            InputError: it is no score for each class, or one of the classes does not exist.
        """
        part = self._part(output)
        if self._first is None:
            self._first = self._read(part, count)
            highest, number = int(self.classes.max()), self._first.num_classes
            if highest >= number:
                raise InputError(f"target {highest} is not one of the model's {number} classes")
        return self._first.like(part, count)

    def of(self, output: Any, count: int, item: Indices, sample: Indices) -> Tensor:
        """Return the values (R,) of R requests.

        Args:
            output: what the network returned for ``count`` inputs.
            count: of inputs.
            item: (R,) which of the inputs.
            sample: (R,) which sample it was made of.
        """
        answer, device = self.answer(output, count), self.classes.device
        classes = self.classes[torch.from_numpy(sample).to(device)]
        return answer.probabilities[torch.from_numpy(item).to(device), classes]


class TargetValues:
    """What a target which is a function says of each sample.

    It may hold something of each sample (a region, a vector). One that can be asked about some of them has a method
    ``of_samples``. Any other is asked about all at once, in their places: the answer to what was made of a sample
    takes the place of the answer to the sample itself.
    """

    def __init__(self, part: Part, target: TargetFunction, found: Found) -> None:
        self._part, self._own = part, own_part(target)
        self._whole = torch.cat([self._rows(output, count) for output, count in found])
        self._pinned = pinned(target, self._whole)

    def of(self, output: Any, count: int, item: Indices, sample: Indices) -> Tensor:
        """Return the values (R,) of R requests, see :meth:`ClassValues.of`.

        Raises:
            InputError: the network has returned something else than for the samples.
        """
        rows = self._rows(output, count)
        if rows.shape[1:] != self._whole.shape[1:]:
            raise InputError(
                f"model: it returns {tuple(rows.shape)} for some inputs and {tuple(self._whole.shape)} for others"
            )
        rows, places = rows[torch.from_numpy(item).to(rows.device)], torch.from_numpy(sample).to(rows.device)
        of_samples = getattr(self._pinned, "of_samples", None)
        if of_samples is not None:
            return summed_by_sample(of_samples(places), rows)
        found = rows.new_empty(len(rows))
        for turn in _turns(sample):
            here = places[turn]
            found[turn] = summed_by_sample(self._pinned, self._whole.index_put((here,), rows[turn]))[here]
        return found

    def _rows(self, output: Any, count: int) -> Tensor:
        rows = with_rows(self._own(self._part(output)), count)
        return rows.to(torch.promote_types(rows.dtype, torch.float32))


class BoxValues:
    """The score of a box of each sample, wherever it moves to and whatever its rank becomes."""

    def __init__(self, part: Part, target: Detection, found: Found) -> None:
        self._part = part
        outputs = [part(output) for output, _ in found]
        of_images = all(isinstance(output, (list, tuple)) for output in outputs)
        self._boxes = target.followed([each for output in outputs for each in output] if of_images else outputs[0])

    def of(self, output: Any, count: int, item: Indices, sample: Indices) -> Tensor:
        """Return the values (R,) of R requests, see :meth:`ClassValues.of`."""
        images = self._part(output)
        pairs = zip(item.tolist(), sample.tolist(), strict=True)
        return torch.stack([self._boxes.score(images[place], number) for place, number in pairs])


Values = ClassValues | TargetValues | BoxValues


def explained_values(
    network: nn.Module,
    inputs: Tensor,
    target: "Target | None",
    reader: AnswerReader,
    output: "OutputChoice | None",
    batch_size: BatchSize,
) -> Values:
    """Return what reads the values of N samples.

    What a target chooses by the output (the predicted class, a region, a token, a box) is chosen for the samples
    themselves: the network runs on them once for that.

    Args:
        network: in evaluation mode.
        inputs: (N, ...), the samples.
        target: a class, one for each sample, None for the predicted one, or a target of :mod:`relsplit.targets`.
        reader: of the network's answers.
        output: which part of them is explained; None: the obvious one, or the target's.
        batch_size: samples per forward pass.

    Raises:
        InputError: the target is not one of the samples, or for another kind of output.
    """
    part, explained = opened(target, output)

    def ends() -> bool:
        return ends_in_probabilities(lambda images: part(network(images)), inputs[:1])

    def read(scores: Any, count: int) -> Answer:
        try:
            checked_scores(scores, count)
        except InputError as error:
            raise InputError(f"{error}; of any other output give a target of relsplit.targets") from error
        return reader.read(scores, count, ends)

    classes = ClassValues(part, inputs.new_zeros(len(inputs), dtype=torch.int64), read)
    if explained is not None and not callable(explained):
        classes.classes = checked_target(explained, len(inputs), device=inputs.device)
        return classes
    batches = outputs_in_batches(network, len(inputs), lambda start, stop: inputs[start:stop].clone(), batch_size)
    found = [(returned, stop - start) for start, stop, returned in batches]
    if explained is None:
        classes.classes = torch.cat([classes.answer(returned, count).predicted for returned, count in found])
        return classes
    return (BoxValues if isinstance(explained, Detection) else TargetValues)(part, explained, found)


def values_in_batches(
    network: nn.Module,
    total: int,
    build: Callable[[int, int], Tensor],
    batch_size: BatchSize,
    values: Sequence[Values],
    item: Indices,
    row: Indices,
    count: int,
) -> npt.NDArray[np.float64]:
    """Return what is explained in R requests, (R,): every input passes the network once, whoever asks for it.

    Args:
        network: in evaluation mode.
        total: M, how many inputs there are.
        build: makes those from ``start`` to ``stop``.
        batch_size: inputs per forward pass.
        values: one or more of ``count`` samples each.
        item: (R,) which of the M inputs.
        row: (R,) ``count`` times which of the values, plus which sample.
        count: of samples.

    Raises:
        InputError: the network returns what cannot be read, or a value is NaN or infinite.
    """
    by_item = np.argsort(item, kind="stable")
    boundary = np.searchsorted(item[by_item], np.arange(total + 1))
    requests, read = [], []
    for start, stop, output in outputs_in_batches(network, total, build, batch_size):
        here = by_item[boundary[start] : boundary[stop]]
        which = row[here] // count
        for number in np.unique(which):
            mine = here[which == number]
            requests.append(mine)
            read.append(values[number].of(output, stop - start, item[mine] - start, row[mine] % count))
    found = np.empty(len(item), dtype=np.float64)
    found[np.concatenate(requests)] = torch.cat(read).double().cpu().numpy()
    wrong = ~np.isfinite(found)
    if wrong.any():
        raise InputError(
            f"the model's answer for sample {row[wrong][0] % count} of the batch is not a number: check the input and "
            "the checkpoint"
        )
    return found


def _turns(sample: Indices) -> list[list[int]]:
    """The places of ``sample`` (R,) in groups, none of which has a sample twice."""
    turns: list[list[int]] = []
    taken: dict[int, int] = {}
    for place, number in enumerate(sample.tolist()):
        turn = taken[number] = taken.get(number, -1) + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(place)
    return turns
