"""Images per second of fine-tuning ResNet50 (batch 32, 224x224), against bare forward + backward on random tensors.

One run prints, for fp32 and mixed precision: the bare step on tensors that lie on the device; the Lightning module fed
by the data module from image files; their ratio; the device memory; and the projected time of 300 epochs on the 5,394
training images of CUB-200-2011. Without a GPU the same is measured on the CPU.

    python benchmarks/training_throughput.py [--quick] [--num-workers 2]
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from _measuring import arguments, now
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.nn import functional
from torchvision.models import resnet18, resnet50

from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.datamodule import ImageDataModule
from relsplit.bench.machine.lightning import quiet_lightning
from relsplit.bench.models.fine_tuning import FineTuning

CUB_TRAIN, EPOCHS, CLASSES = 5_394, 300, 200


def optimizer(parameters: Any) -> torch.optim.Optimizer:
    """The paper's Table A."""
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=1e-4)


def photographs(root: Path, count: int) -> Catalogue:
    """JPEG files of the size that CUB's photographs have (500x375), textured so that decoding costs what it does."""
    draw = np.random.default_rng(0)
    samples = []
    for index in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (47, 63, 3), dtype=np.uint8)).resize((500, 375))
        path = root / f"{index}.jpg"
        coarse.save(path, quality=90)
        samples.append(Sample(str(index), path, index % CLASSES, "train"))
    return Catalogue(tuple(map(str, range(CLASSES))), tuple(samples), root)


def bare(network: torch.nn.Module, device: torch.device, mixed: bool, batch: int, size: int, steps: int) -> float:
    """Images per second of forward, backward and optimizer step on one random batch."""
    network = network.to(device).to(memory_format=torch.channels_last).train()
    images, labels = torch.randn(batch, 3, size, size, device=device), torch.arange(batch, device=device) % CLASSES
    descent, scaler = optimizer(network.parameters()), torch.amp.GradScaler(enabled=mixed and device.type == "cuda")
    started = 0.0
    for step in range(steps + 3):
        if step == 3:
            started = now()
        descent.zero_grad()
        with torch.autocast(device.type, torch.float16 if device.type == "cuda" else torch.bfloat16, enabled=mixed):
            loss = functional.cross_entropy(network(images), labels)
        scaler.scale(loss).backward()
        scaler.step(descent)
        scaler.update()
    return batch * steps / (now() - started)


class Clock(pl.Callback):
    """Images per second of the steps after the first three."""

    def __init__(self, batch: int) -> None:
        self.batch, self.started, self.rate = batch, 0.0, 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 2:
            self.started = now()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        steps = trainer.num_training_batches - 3
        self.rate = self.batch * steps / (now() - self.started)


def fitted(
    network: torch.nn.Module, catalogue: Catalogue, mixed: bool, batch: int, size: int, steps: int, workers: int
) -> float:
    """Images per second of one epoch through the Lightning module and the data module."""
    clock = Clock(batch)
    gpu = torch.cuda.is_available()
    data = ImageDataModule(
        catalogue, size * 256 // 224, size, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], batch, num_workers=workers
    )
    data.samples["val"] = ()  # the benchmark has no validation images
    trainer = pl.Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=1,
        precision="32-true" if not mixed else "16-mixed" if gpu else "bf16-mixed",
        max_epochs=1,
        limit_train_batches=steps + 3,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=[clock],
    )
    trainer.fit(FineTuning(network, [str(label) for label in range(CLASSES)], {}, optimizer), datamodule=data)
    return clock.rate


def main() -> None:
    parser = arguments(__doc__, quick="ResNet18, batch 4, 64x64, three steps: does it run?")
    parser.add_argument("--num-workers", type=int, default=8 if torch.cuda.is_available() else 0)
    options = parser.parse_args()
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    build, batch, size, steps = (resnet18, 4, 64, 3) if options.quick else (resnet50, 32, 224, 100 if gpu else 4)
    quiet_lightning()
    table = Table(
        title=f"{build.__name__}, batch {batch}, {size}x{size}, {torch.cuda.get_device_name() if gpu else 'CPU'}"
    )
    for heading in (
        "precision",
        "bare (images/s)",
        "fine-tuning (images/s)",
        "ratio",
        "memory (GiB)",
        "300 epochs (h)",
    ):
        table.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        catalogue = photographs(Path(folder), batch * (steps + 3))
        for mixed in (False, True):
            floor = bare(build(num_classes=CLASSES), device, mixed, batch, size, steps)
            if gpu:
                torch.cuda.reset_peak_memory_stats()
            rate = fitted(build(num_classes=CLASSES), catalogue, mixed, batch, size, steps, options.num_workers)
            memory = f"{torch.cuda.max_memory_allocated() / 2**30:.2f}" if gpu else "-"
            hours = EPOCHS * CUB_TRAIN / rate / 3600
            table.add_row(
                "mixed" if mixed else "fp32",
                f"{floor:.1f}",
                f"{rate:.1f}",
                f"{rate / floor:.2f}",
                memory,
                f"{hours:.1f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
