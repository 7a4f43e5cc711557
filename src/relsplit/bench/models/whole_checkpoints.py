"""Writing checkpoints so that a full disk or a kill leaves the one before."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from relsplit.files import write_bytes


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, written beside the old file and put in its place when they are on the disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path``.

        Raises:
            OSError: it cannot be written; the file that was there is as it was.
        """
        content = io.BytesIO()
        torch.save(checkpoint, content)  # straight to a full disk it would raise a RuntimeError of C++
        write_bytes(Path(path), content.getbuffer())
