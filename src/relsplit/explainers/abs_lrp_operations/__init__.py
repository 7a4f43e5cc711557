"""What an operation does with relevance under absLRP: one file per way, as in :mod:`relsplit.lrp.operations`.

The released code has a rule for every function that a network calls; so operations are seen as the network calls them
("flatten", "dropout", "batch_norm"), before PyTorch takes them apart.
"""

from relsplit.lrp.recording.kinds import Handle, Kinds
from relsplit.registry import Registry

ABS_OPERATIONS: Registry[Handle] = Registry("absLRP operation", __name__)
KINDS = Kinds(ABS_OPERATIONS.find, "choose another explainer", __name__)
