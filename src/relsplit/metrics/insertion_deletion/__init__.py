"""The insertion and deletion metric: curves of masked images under a protocol, and the areas below them."""
