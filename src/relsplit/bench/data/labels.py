"""Which label a class has, by its name."""

from collections.abc import Sequence
from dataclasses import replace

from relsplit.bench.data.catalogue import Catalogue
from relsplit.bench.data.imagenet_classes import IMAGENET_CLASS_NAMES, IMAGENET_WNIDS
from relsplit.errors import InputError
from relsplit.spelling import did_you_mean


def label_of(name: str | int, class_names: Sequence[str], where: str) -> int:
    """Return the label of a class.

    Args:
        name: its name, in upper or lower case and with ``_`` or blanks, its label, or its WordNet id (n01440764) where
            the classes are ImageNet's.
        class_names: by label.
        where: what names the class, for the error.

    Raises:
        InputError: there is no such class, or several of this name.
    """
    name, plain = str(name), [_plain(each) for each in class_names]
    found = [label for label, each in enumerate(class_names) if each == name]
    found = found or [label for label, each in enumerate(plain) if each == _plain(name)]
    if len(found) > 1:
        raise InputError(f"{where}={name}: classes {', '.join(map(str, found))} are called so: say the number")
    if not found and name in IMAGENET_WNIDS and tuple(class_names) == IMAGENET_CLASS_NAMES:
        return IMAGENET_WNIDS.index(name)
    if not found and name.isdecimal() and int(name) < len(class_names):
        return int(name)
    if not found:
        hint = did_you_mean(name, class_names)
        raise InputError(f"{where}={name}: none of the network's {len(class_names)} classes is called so{hint}")
    return found[0]


def within(catalogue: Catalogue, class_names: Sequence[str]) -> Catalogue:
    """Return a dataset of some of a network's classes with the network's labels.

    Args:
        catalogue: whose classes are called as the network's.
        class_names: the network's, by label.

    Raises:
        InputError: a class of the dataset is none of the network's, or several of them are called so.
    """
    new = [label_of(name, class_names, "the class of the dataset") for name in catalogue.class_names]
    samples = tuple(
        replace(sample, label=new[sample.label], labels=tuple(sorted(new[label] for label in sample.labels)))
        for sample in catalogue.samples
    )
    return replace(catalogue, class_names=tuple(class_names), samples=samples)


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())
