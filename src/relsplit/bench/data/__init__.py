"""Datasets: what is explained and learned from, as lists of labelled image files and as batches."""
