"""Random numbers that belong to an image: neither its batch nor its place in the order plays a part."""

import zlib

import torch
from torch import Tensor


def image_generator(image: Tensor, seed: int) -> torch.Generator:
    """Return a generator on the CPU, seeded by the content of ``image`` (any shape) and ``seed``."""
    # One 32-bit number from both: torch's CPU generator ignores the upper half of a longer seed.
    return torch.Generator().manual_seed(zlib.crc32(image.detach().cpu().contiguous().numpy().tobytes(), seed))
