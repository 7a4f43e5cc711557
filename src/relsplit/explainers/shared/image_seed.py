"""A random seed for each image, from the image itself."""

import ctypes
import hashlib

import torch
from torch import Tensor


def image_seed(image: Tensor, seed: int) -> int:
    """Seed in [0, 2**63) from the bytes of ``image`` (3, H, W) and ``seed``.

    An explainer that draws its random numbers from it gives an image the same map in every batch, order and process.
    """
    values = image.detach().to(device="cpu", dtype=torch.float64).contiguous()
    content = ctypes.string_at(values.data_ptr(), values.nbytes)  # as NumPy has them, which torch may lack
    digest = hashlib.blake2b(content, digest_size=8, key=str(seed).encode()).digest()
    return int.from_bytes(digest, "big") >> 1
