"""``task=explain``: maps of samples or of photographs; and what every task needs that explains images."""
