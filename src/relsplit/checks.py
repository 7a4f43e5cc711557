"""What may be handed in: images, targets and maps, checked in one place for every function."""

from typing import Any

import torch
from torch import Tensor

from relsplit.errors import InputError


def as_tensor(value: Any) -> Any:
    """Return a numpy array (of numbers, and what has a numpy type) as a tensor, anything else as it is."""
    if isinstance(value, Tensor) or not hasattr(value, "__array__"):
        return value
    try:
        return torch.as_tensor(value)
    except TypeError:  # of objects, or of text
        return value
    except ValueError:  # torch reads neither a mirrored view nor the byte order of another machine
        array = value.__array__()
        return torch.as_tensor(array.astype(array.dtype.newbyteorder("="), order="C"))


def checked_batch(values: object, what: str, look_at_values: bool = True) -> Tensor:
    """Return a batch of values detached, if it can be explained.

    Args:
        values: (N, ...): floating point, or integers, which are tokens.
        what: how they are called in the error.
        look_at_values: whether they are read, for which an accelerator has to be waited for.

    Raises:
        InputError: no tensor, within torch.func, without anything behind the batch, neither floating point nor
            integers, empty, or with NaN or infinite values.
    """
    if not isinstance(values, Tensor):
        raise InputError(f"{what}: expected a tensor with the batch first, not {type(values).__name__}")
    _check_unwrapped(values, what)
    if values.ndim < 2:
        raise InputError(
            f"{what}: expected the batch first, (N, ...), not {tuple(values.shape)}: one sample alone is sample[None]"
        )
    if values.is_complex() or values.dtype == torch.bool:
        raise InputError(
            f"{what}: expected floating point values, or integers that are tokens, not {values.dtype}: a mask is "
            "handed on with forward_kwargs="
        )
    return _checked_entries(values, what, "values", look_at_values)


def checked_images(images: Tensor, look_at_pixels: bool = True) -> Tensor:
    """Return ``images`` detached, if they can be explained or scored.

    Args:
        images: (N, C, H, W), floating point, normalised as the network expects it.
        look_at_pixels: whether they are read, for which an accelerator has to be waited for.

    Raises:
        InputError: no tensor, within torch.func, another rank, not floating point, empty, or with NaN or infinite
            pixels.
    """
    if not isinstance(images, Tensor):
        raise InputError(f"images: expected a tensor of shape (N, C, H, W), not {type(images).__name__}")
    _check_unwrapped(images, "images")
    if images.ndim != 4:
        one = ": a single image is image[None]" if images.ndim == 3 else ""
        raise InputError(f"images: expected shape (N, C, H, W), not {tuple(images.shape)}{one}")
    if not images.is_floating_point():
        raise InputError(f"images: expected normalised floating point pixels, not {images.dtype}")
    return _checked_entries(images, "images", "pixels", look_at_pixels)


def _check_unwrapped(values: Tensor, what: str) -> None:
    if torch._C._functorch.is_functorch_wrapped_tensor(values):
        raise InputError(f"{what}: they cannot be explained within torch.func or torch.vmap: hand in the whole batch")


def _checked_entries(values: Tensor, what: str, entries: str, look_at_them: bool) -> Tensor:
    if values.numel() == 0:
        raise InputError(f"{what}: the batch is empty, shape {tuple(values.shape)}")
    values = values.detach()
    # One reduction finds a NaN or an infinity anywhere, as long as the finite values do not overflow.
    if look_at_them and values.is_floating_point() and not bool(torch.isfinite(values.abs().amax())):
        raise InputError(f"{what}: some {entries} are NaN or infinite: check the files and the normalisation")
    return values


def checked_target(
    target: "int | Tensor",
    count: int,
    num_classes: int | None = None,
    device: torch.device | None = None,
    look_at_classes: bool = True,
    option: str = "target",
) -> Tensor:
    """Return the class of each of ``count`` images, (N,) int64 on ``device``.

    Args:
        target: one class for all images, or a tensor of ``count`` classes.
        count: number of images.
        num_classes: classes of the network, None where they are not known yet.
        device: of the result, None for the target's own.
        look_at_classes: whether they are read, for which an accelerator that holds them has to be waited for.
        option: how it is called in the error.

    Raises:
        InputError: another type or shape, or a class that does not exist.
    """
    target = as_tensor(target)
    if isinstance(target, bool) or not isinstance(target, (int, Tensor)):
        words = {"target": "None, ", "against": "a word, "}.get(option, "")
        raise InputError(
            f"{option}: expected {words}an int or a tensor of {count} class indices, not {type(target).__name__}"
        )
    if isinstance(target, int) and not -(2**63) <= target < 2**63:
        raise InputError(f"{option}: there is no class {target}")
    classes = target if isinstance(target, Tensor) else torch.tensor(target, device="cpu")
    if classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool:
        raise InputError(f"{option}: class indices must be integers, not {classes.dtype}")
    if classes.ndim == 0:
        classes = classes.expand(count)
    if classes.shape != (count,):
        raise InputError(f"{option}: expected one class index per image, ({count},), not {tuple(classes.shape)}")
    looked_at = classes.to(torch.int64)  # where it lies: a number is not looked up on a GPU
    classes = looked_at.to(device=device)
    if not look_at_classes:
        return classes
    if num_classes is None and bool((looked_at < 0).any()):
        raise InputError(f"{option}: class indices must not be negative, found {classes.tolist()[:8]}")
    if num_classes is not None and bool(((looked_at < 0) | (looked_at >= num_classes)).any()):
        raise InputError(f"{option}: class indices must lie in [0, {num_classes - 1}], found {classes.tolist()[:8]}")
    return classes


def checked_maps(maps: Tensor, images: Tensor) -> Tensor:
    """Return ``maps`` (N, H, W) detached, finite, floating point and on the device of ``images`` (N, C, H, W).

    Raises:
        InputError: no tensor, maps with channels, of another size than the images, or with NaN or infinite values.
    """
    maps = real_maps(maps)
    if maps.ndim == images.ndim:
        raise InputError(
            f"maps {tuple(maps.shape)} still have channels: reduce them to (N, H, W) first, "
            "for example with relsplit.attribution.AttributionMap"
        )
    expected = (len(images), *images.shape[2:])
    if tuple(maps.shape) != expected:
        raise InputError(f"maps have shape {tuple(maps.shape)} but the images need {expected}: resize the maps first")
    return finite_maps(maps).to(images.device)


def real_maps(maps: Tensor, what: str = "map") -> Tensor:
    """Return ``maps`` as a tensor.

    Args:
        maps: one per entry of the first dimension; a numpy array does as well.
        what: how a map is called in the error.

    Raises:
        InputError: neither a tensor nor an array, or complex numbers.
    """
    maps = as_tensor(maps)
    if not isinstance(maps, Tensor):
        raise InputError(f"{what}s must be a tensor or an array, not {type(maps).__name__}")
    if maps.is_complex():
        raise InputError(f"{what}s must be real numbers, not {maps.dtype}")
    return maps


def finite_maps(maps: Tensor, what: str = "map") -> Tensor:
    """Return ``maps`` (N, ...) detached and floating point; half precision, whose sums overflow, as float32.

    Args:
        maps: any real values, one map per entry of the first dimension.
        what: how a map is called in the error.

    Raises:
        InputError: no tensor, or complex numbers; NaN or infinite values, whose first maps are named.
    """
    maps = real_maps(maps, what)
    floating = maps.detach() if maps.is_floating_point() else maps.detach().double()
    if floating.dtype in (torch.float16, torch.bfloat16):
        floating = floating.float()
    finite = torch.isfinite(floating).flatten(1).all(1)
    if not finite.all():
        broken = ", ".join(map(str, (~finite).nonzero()[:5, 0].tolist()))
        raise InputError(f"{what} {broken} of the batch contains NaN or infinity: check the images and the weights")
    return floating
