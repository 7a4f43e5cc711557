"""Reading weights from files, whoever wrote them, without ever running code from the file."""

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.errors import InputError

_CONTAINERS = ("state_dict", "model_state_dict", "model", "network")
"""Keys under which training scripts put the state dict beside optimizer state and counters."""

_WRAPPERS = re.compile(r"(?:(?:module|model|network|_orig_mod)\.)+")
"""Prefixes added by DataParallel, Lightning modules and torch.compile."""


def read_checkpoint(path: Path, made_by: str = "") -> dict[str, Any]:
    """Read a file written by ``torch.save`` that holds only tensors and plain values.

    Args:
        path: the file.
        made_by: the command that makes the file, named when the file is missing.

    Raises:
        InputError: the file is missing, damaged, holds no dictionary, or is a pickle that would run code.
    """
    if not path.is_file():
        advice = f"make it with `{made_by}`" if made_by else "give the path of a checkpoint"
        raise InputError(f"checkpoint {path}: no such file; {advice}")
    _check_sums(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, and followed by the error that counts
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Two cases share this type: a pickle that names a forbidden function, and bytes that torch cannot interpret.
        forbidden = re.search(r"(?:GLOBAL|global|class) ([\w.]+\.\w+)", str(error))
        reason = (
            f"it would run code ({forbidden[1]})"
            if forbidden
            else "it is damaged, no checkpoint, or a pickle that could run code"
        )
        raise InputError(
            f"checkpoint {path}: refused, {reason}; save only tensors, e.g. torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:
        # torch.load meets damaged files with a dozen unrelated types: RuntimeError, EOFError, KeyError, OSError, ...
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"checkpoint {path}: cannot be read ({reason}); copy or download it again") from error
    if not isinstance(content, dict):
        raise InputError(f"checkpoint {path}: holds a {type(content).__name__}, not a state dict; save a state dict")
    return content


def _check_sums(path: Path) -> None:
    """Compare what a file of ``torch.save`` holds with the checksums in it, which torch does not read.

    Raises:
        InputError: they differ. (Files older than PyTorch 1.6 have none.)
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as file:
            broken = file.testzip()
    except Exception as error:  # the damage may lie in what says how to read the rest
        broken = " ".join(str(error).split())[:80]
    if broken is not None:
        raise InputError(
            f"checkpoint {path}: is damaged (its checksums do not fit: {broken}); copy, download or save it again"
        )


def read_state_dict(path: Path, made_by: str = "") -> dict[str, Tensor]:
    """The parameters and buffers in a plain state dict, a Lightning checkpoint or a training script's dictionary.

    Raises:
        InputError: as :func:`read_checkpoint`, or the dictionary holds no state dict.
    """
    content = read_checkpoint(path, made_by)
    for key in _CONTAINERS:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        names = ", ".join(map(str, list(content)[:5])) or "nothing"
        raise InputError(
            f"checkpoint {path}: holds no state dict (found: {names}); understood are model.state_dict(), a Lightning "
            f"checkpoint, and a dictionary with one of these under {', '.join(_CONTAINERS)}"
        )
    return state


def checkpoint_class_names(path: Path, content: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return which classes the network of a checkpoint learned, by label; None where nothing says so.

    They stand in the file under ``class_names``, ``classes`` or ``class_to_idx``, or in the ``summary.json`` beside it.

    Args:
        path: of the file.
        content: of the file, see :func:`read_checkpoint`.

    Raises:
        InputError: ``class_to_idx`` does not number the classes.
    """
    for key in ("class_names", "classes"):
        if isinstance(content.get(key), (list, tuple)):
            return tuple(map(str, content[key]))
    numbered = content.get("class_to_idx")
    if numbered is not None:
        indices = list(numbered.values()) if isinstance(numbered, dict) else []
        in_order = all(type(index) is int for index in indices) and sorted(indices) == list(range(len(indices)))
        if not indices or not in_order:
            raise InputError(
                f"checkpoint {path}: its class_to_idx does not number {len(indices)} classes from 0 on, each once: "
                "mend it, or leave it out and say dataset.class_names"
            )
        return tuple(str(name) for name, _ in sorted(numbered.items(), key=lambda item: item[1]))
    try:
        found = json.loads((path.parent / "summary.json").read_text(encoding="utf-8")).get("class_names")
    except (OSError, ValueError, AttributeError):
        return None
    return tuple(map(str, found)) if isinstance(found, list) else None


def load_checkpoint(network: nn.Module, path: Path, made_by: str = "", new_head: bool = False) -> None:
    """Copy the weights of a file into ``network``, in place.

    Args:
        network: the network to fill.
        path: a file that :func:`read_state_dict` reads; keys may carry ``module.``, ``model.`` or ``network.``.
        made_by: the command that makes the file, named when the file is missing.
        new_head: leave those parameters as they are that differ in the number of classes only (fine-tuning).

    Raises:
        InputError: unreadable file, or keys or shapes that do not fit; the first of each are named.
    """
    fill(network, read_state_dict(path, made_by), source=f"checkpoint {path}", new_head=new_head)


def fill(network: nn.Module, state: Mapping[str, Tensor], source: str, new_head: bool = False) -> None:
    """Copy ``state`` into ``network``, in place; nothing is copied unless all of it fits.

    Raises:
        InputError: keys or shapes that do not fit; ``source`` begins the message.
    """
    expected = network.state_dict()
    given = _without_wrapper(state, expected)
    if new_head:
        given = {
            name: expected[name] if name in expected and _other_class_count(value, expected[name]) else value
            for name, value in given.items()
        }
    # Files older than PyTorch 0.4.1 do not have this counter, which inference never reads.
    missing = [name for name in expected if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in expected]
    reshaped = [
        f"{name} {tuple(value.shape)} in the file, {tuple(expected[name].shape)} in the network"
        for name, value in given.items()
        if name in expected and value.shape != expected[name].shape
    ]
    retyped = [
        f"{name} {str(value.dtype).removeprefix('torch.')}"
        for name, value in given.items()
        if name in expected
        and value.dtype != expected[name].dtype
        and value.is_floating_point() != expected[name].is_floating_point()
    ]
    empty = [name for name, value in given.items() if not _is_dense(value)]
    broken = [
        name
        for name, value in given.items()
        if name in expected
        and value.shape == expected[name].shape  # others may claim to have any number of entries
        and name not in empty
        and value.is_floating_point()
        and not value.isfinite().all()
    ]
    problems = [
        *_first("missing", missing),
        *_first("unexpected", unexpected),
        *_first("of another shape", reshaped),
        *_first("of another type", retyped),
        *_first("sparse, quantised or without values", empty),
        *_first("with NaN or infinite values", broken),
    ]
    if problems:
        raise InputError(
            f"{source} does not fit the network {type(network).__name__}: {'; '.join(problems)}; "
            "choose the model= that it was made with"
        )
    network.load_state_dict({**expected, **given})


def _without_wrapper(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Strip the wrapper prefix under which most of the expected names are found.

    Whatever lies outside that prefix (a loss's or a metric's buffers in a Lightning checkpoint) is left out.
    """

    def stripped(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}

    prefixes = sorted({prefix for name in state for prefix in _prefixes(name)}, key=len)
    return max(map(stripped, prefixes), key=lambda candidate: len(candidate.keys() & expected.keys()))


def _prefixes(name: str) -> Iterator[str]:
    yield ""
    if wrapper := _WRAPPERS.match(name):
        for dot in re.finditer(r"\.", wrapper[0]):
            yield name[: dot.end()]


def _is_dense(value: Tensor) -> bool:
    return value.layout is torch.strided and not value.is_meta and not value.is_quantized


def _other_class_count(value: Tensor, expected: Tensor) -> bool:
    return value.ndim > 0 and value.shape[1:] == expected.shape[1:] and value.shape[0] != expected.shape[0]


def _first(what: str, names: Sequence[str]) -> list[str]:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return [f"{len(names)} {what} ({shown})"] if names else []
