"""What is explained of a class."""

from typing import Literal

ClassScore = Literal["logit", "probability"]
"""Its logit, or its probability."""
