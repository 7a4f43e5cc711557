"""Image files of every kind as 8-bit RGB images, and object masks as boolean arrays."""

import hashlib
import io
import os
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from relsplit.errors import InputError

# What Pillow's decoders raise on damaged files; SyntaxError is how its PNG and TIFF readers report a broken header.
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, struct.error)


class BadImage(InputError):
    """An image file that cannot be read; ``reason`` says why without repeating the path."""

    def __init__(self, path: Path | str, reason: str | None = None) -> None:
        if reason is None:  # the message alone: from a pickle, or below the traceback that torch's loader makes anew
            message = str(path).strip().splitlines()[-1].removeprefix(f"{__name__}.{type(self).__name__}: ")
        else:
            message = f"cannot read the image {path}: {reason} (repair or remove it, or set on_bad_image=skip)"
        super().__init__(message)
        self.path = path
        self.reason = reason or message


def read_file(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Reads a file at once.

    Returns:
        Its content, and the fingerprint of just this content: ``bytes``, ``modified`` (nanoseconds), ``sha256``.

    Raises:
        BadImage: the file is missing, empty, no file (a folder, or a pipe, which would be waited for), or not
            to be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadImage(path, "it is no file")
        with path.open("rb") as file:
            modified = os.fstat(file.fileno()).st_mtime_ns
            content = file.read()
    except FileNotFoundError as error:
        raise BadImage(path, "there is no such file") from error
    except OSError as error:
        raise BadImage(path, error.strerror or str(error)) from error
    if not content:
        raise BadImage(path, "the file is empty")
    digest = hashlib.sha256(content).hexdigest()
    return content, {"bytes": len(content), "modified": modified, "sha256": digest}


def read_image(path: Path, content: bytes | None = None) -> Image.Image:
    """Reads an image file as it is meant to be seen, in mode RGB.

    Greyscale, palette and CMYK images are converted, 16-bit images are scaled to 8 bits, transparent images are laid
    on white (as viewers show them), the EXIF orientation is applied, and of several frames the first is taken.

    Args:
        path: the file.
        content: of the file, where it was read before.

    Raises:
        BadImage: the file is missing, empty, truncated, no image, or has pixel values without a defined range.
    """
    image = _decode(path, content)
    try:
        upright: Image.Image = ImageOps.exif_transpose(image)
        return _to_rgb(upright)
    except _DECODER_ERRORS as error:
        raise BadImage(path, str(error) or type(error).__name__) from error


def read_mask(path: Path, value: int | None = None) -> NDArray[np.bool_]:
    """Reads an object mask: True where the first channel is at least half of white, or where a pixel has ``value``.

    The masks of CUB-200-2011 hold the share of annotators that marked a pixel, so half of white is their majority.

    Args:
        path: the file.
        value: index of the class in an image of class indices (palette or greyscale).

    Returns:
        (H, W) boolean array in stored-image pixels.

    Raises:
        BadImage: as for :func:`read_image`.
    """
    image = _decode(path)
    if value is not None:
        if image.mode not in ("L", "P"):
            raise BadImage(path, f"pixels of mode {image.mode} are no class indices")
        inside: NDArray[np.bool_] = np.asarray(image) == value
        return inside
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("L")
    return np.asarray(image.getchannel(0)) >= 128


def _decode(path: Path, content: bytes | None = None) -> Image.Image:
    content = read_file(path)[0] if content is None else content
    try:
        image: Image.Image
        with Image.open(io.BytesIO(content)) as image:
            image.load()
        return image
    except UnidentifiedImageError as error:
        raise BadImage(path, "it is not an image of a known format") from error
    except (Image.DecompressionBombError, *_DECODER_ERRORS) as error:
        raise BadImage(path, str(error) or type(error).__name__) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range")
    if image.mode.startswith("I"):  # "I;16", "I;16B", and "I", as which older Pillow versions open 16-bit PNGs
        pixels = np.asarray(image).astype(np.int64)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError("integer pixels beyond 16 bits have no defined range")
        image = Image.fromarray(np.round(pixels / 257).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
