"""How well the explained networks classify: the accuracies of their trainings, side by side."""

from collections.abc import Sequence

import pandas as pd

from relsplit.bench.runs.summary import TRAINING, read_summary
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import Brief, Product
from relsplit.papers.reports.text_table import TextTable, number, words

ATTENTION = "attention_accuracy"
"""What the training of a network with an attention branch adds to its summary."""


def accuracies(rows: Sequence[Measured], brief: Brief, *, title: str) -> Product:
    """A table of test accuracies, fractions in [0, 1], of networks with and without an attention branch.

    Args:
        rows: networks; their folders are those of trainings.
        brief: what the table is made for.
        title: of the table.
    """
    lines = []
    for row in rows:
        summary = read_summary(row.folders[0], TRAINING)
        lines.append(
            {"network": row.label, "accuracy": summary["accuracy"], "attention_accuracy": summary.get(ATTENTION)}
        )
    frame: pd.DataFrame = pd.DataFrame(lines)
    cells = [[words(each["network"]), number(each["accuracy"]), number(each["attention_accuracy"])] for each in lines]
    table = TextTable(
        f"{title} — {brief.dataset}",
        ["Network", "Accuracy", "Attention branch"],
        [cells],
        ["Share of right test images. Accuracy: of the scores that are explained."],
    )
    return Product([table], frame)
