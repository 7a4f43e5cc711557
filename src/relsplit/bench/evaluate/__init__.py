"""``task=evaluate``: explain samples, score the maps, and sum up."""
