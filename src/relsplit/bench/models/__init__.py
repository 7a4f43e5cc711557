"""Networks: built from a configuration, filled from a file, fine-tuned."""
