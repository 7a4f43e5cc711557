"""The insertion and deletion metric written a second time, literally: numpy masks, one image at a time, two passes.

Shares no code with the package; the tests compare against it and the benchmark times it.
"""

import math

import numpy as np
import torch


def published_masks(attribution, step):
    """(P, U) booleans: everything at or above the value of rank n; x axis evenly spaced."""
    descending = np.sort(attribution)[::-1]
    points = math.ceil(attribution.size / step)
    masks = []
    for point in range(points):
        rank = min(step * (point + 1), attribution.size - 1)
        masks.append(attribution >= descending[rank])
    return masks, np.arange(points) / (points - 1)


def strict_masks(attribution, step):
    """Exactly n units, ties by index."""
    order = sorted(range(attribution.size), key=lambda i: (-attribution[i], i))
    points = math.ceil(attribution.size / step)
    masks = []
    for point in range(points):
        mask = np.zeros(attribution.size, dtype=bool)
        mask[order[: min(step * (point + 1), attribution.size - 1)]] = True
        masks.append(mask)
    return masks, np.arange(points) / (points - 1)


def levels_masks(attribution, step):
    """Nothing, then everything at or above each distinct value; x axis is the share of units in the mask."""
    masks = [np.zeros(attribution.size, dtype=bool)]
    masks += [attribution >= level for level in sorted(set(attribution.tolist()), reverse=True)]
    return masks, np.array([mask.mean() for mask in masks])


MASKS = {"published": published_masks, "strict": strict_masks, "levels": levels_masks}


def block_maximum(attribution, patch):
    height, width = attribution.shape
    rows, columns = math.ceil(height / patch), math.ceil(width / patch)
    return np.array(
        [
            [attribution[r * patch : (r + 1) * patch, c * patch : (c + 1) * patch].max() for c in range(columns)]
            for r in range(rows)
        ]
    )


def insertion_and_deletion(model, image, attribution, target, protocol, step, baseline, patch=1):
    """Areas (insertion, deletion) of one image (C, H, W) and one map (H, W); baseline broadcasts to the image."""
    image, baseline = image.numpy(), np.broadcast_to(baseline, image.shape)
    blocks = block_maximum(attribution.numpy(), patch)
    masks, x = MASKS[protocol](blocks.ravel(), step)
    areas = []
    for shown, hidden in ((image, baseline), (baseline, image)):
        probabilities = []
        for flat in masks:
            mask = np.kron(flat.reshape(blocks.shape), np.ones((patch, patch), dtype=bool))
            mask = mask[: image.shape[1], : image.shape[2]]
            picture = np.where(mask, shown, hidden)
            with torch.no_grad():
                logits = model(torch.from_numpy(picture).unsqueeze(0))
            probabilities.append(torch.softmax(logits, 1)[0, target].item())
        y = probabilities
        areas.append(sum((x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2 for i in range(1, len(x))))
    return areas
