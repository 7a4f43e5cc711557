"""``task=train``: fine-tune a network on a dataset."""
