"""The bench: what is evaluated, with which network and explainer, resumably, on one core or on many machines."""
