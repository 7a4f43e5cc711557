"""What is explained of a network's output, beside a class: give one of these as ``target``.

Each is a function from the output to the relevance of its entries, of the same shape, whose sum is what is explained; a
plain function does as well. One that has a method ``part`` also says which part of the output it is about; ``pinned``
returns it with what it chooses by an output as it is there, and ``of_samples``, of such a one, that of some samples.
"""

from relsplit.lazy_exports import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__)
