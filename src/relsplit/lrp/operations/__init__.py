"""What an operation does with relevance on its way back: one file per way, chosen by the operation's name.

A file declares which of PyTorch's operations it handles with ``@OPERATIONS.register("add", "sub")`` on a function
``(call) -> what the operation returned`` that runs ``call`` and notes the steps it makes. The names are those of
PyTorch's ``aten`` operations, without the underscore of those in place; others are called "library::name". All files of
this folder are found by themselves.
"""

from relsplit.lrp.recording.kinds import Handle, Kinds
from relsplit.registry import Registry

OPERATIONS: Registry[Handle] = Registry("operation", __name__)
KINDS = Kinds(
    OPERATIONS.find,
    'give the module that holds it a rule with LRP(model, leaves={ItsClass: "pass"}) or "input_times_gradient"',
    __name__,
)
