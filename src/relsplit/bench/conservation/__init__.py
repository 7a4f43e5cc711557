"""``task=conservation``: how much of the relevance that was sent arrives at every stage."""
