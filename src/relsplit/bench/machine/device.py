"""The device that the configuration chooses."""

import torch

from relsplit.errors import InputError


def chosen_device(device: str) -> torch.device:
    """The torch device that ``device`` stands for: auto takes a GPU where there is one.

    Raises:
        InputError: the device is unknown or not to be had on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device={device}: {str(error).splitlines()[0]}; use device=cpu or device=auto") from error
    if found.type == "meta":
        raise InputError("device=meta computes nothing: use device=cpu or device=auto")
    return found
