"""Where relevance follows the entries: reshaping, slicing, joining constants; ReLU and dropout, too.

The released code zeroes relevance at entries that are not positive where a network flattens, takes a part by its index,
or drops out.
"""

from typing import Any

from torch import Tensor

from relsplit.explainers.abs_lrp_operations import ABS_OPERATIONS
from relsplit.lrp.operations import OPERATIONS, index_map, pass_through
from relsplit.lrp.recording.call import Call

_PASSED = ("relu", "relu6", "leaky_relu", "clamp", "clamp_min", "clone", "contiguous", "_to_copy")
_MASKED = ("slice", "select", "index")
_AS_THEY_ARE = (pass_through.another_name, pass_through.constant, pass_through.copied)
_MOVES = [name for name in OPERATIONS.names() if OPERATIONS.get(name).__module__ == index_map.__name__]

ABS_OPERATIONS.register(*_PASSED)(pass_through.pass_through)
for _name in OPERATIONS.names():
    if OPERATIONS.get(_name) in _AS_THEY_ARE:
        ABS_OPERATIONS.register(_name)(OPERATIONS.get(_name))


@ABS_OPERATIONS.register(*_MOVES)
def moved(call: Call) -> Any:
    """Relevance goes where its entry came from; what came from constants is thrown away."""
    if len(call.sources) > 1:
        return call.refuse("it puts several activations together")
    output = OPERATIONS.get(call.name)(call)
    return _masked(call, output) if call.name in _MASKED else output


@ABS_OPERATIONS.register("flatten")
def flatten(call: Call) -> Any:
    """A reshaping."""
    with call.recorder:
        output = call.func.decompose(*call.args)
    return _masked(call, output)


@ABS_OPERATIONS.register("dropout")
def dropout(call: Call) -> Any:
    """Nothing, in evaluation mode."""
    return _masked(call, call.run())


def _masked(call: Call, output: Tensor) -> Tensor:
    source = call.recorder.holders.of(output)
    if source is None or not call.options.released:
        return output
    if not call.is_in_place and output.is_set_to(call.sources[0][0]):
        output = output.clone()  # others read the same memory, of which relevance stays
    saved = call.save(output.detach())
    call.record(output, [source], lambda relevance: [relevance * (saved.tensor > 0)])
    return output
