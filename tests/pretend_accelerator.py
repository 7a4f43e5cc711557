"""A device that is none: tensors that say they are on it, hold their numbers on the CPU, and refuse to be mixed.

``registered()`` gives a process the device "pretend", for good: tests use it in processes of their own. Whatever
PyTorch is asked to do there is done on the CPU, so that results are the CPU's; but an operation that takes a tensor
from here and one from there fails as it would on a GPU, and :class:`Accelerator` counts what a GPU would have to be
waited for.
"""

from collections import Counter
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

NAME = "pretend"
aten = torch.ops.aten

COPIES = {aten._to_copy.default, aten.copy_.default, aten._copy_from.default}
"""Operations that are there to lead from one device to another."""
WAITS = {
    "_local_scalar_dense", "nonzero", "equal", "is_nonzero", "_unique2", "unique_dim", "unique_consecutive",
    "masked_select", "allclose", "unique_dim_consecutive",
}  # fmt: skip
"""Operations whose answer the CPU needs before it goes on."""


def is_available() -> bool:
    """Whether this PyTorch can have a device registered from Python."""
    return hasattr(backend_registration, "_setup_privateuseone_for_python_backend")


class OnAccelerator(Tensor):
    """A tensor that says it is on the accelerator; ``held`` has its numbers, and the same strides and offset."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnAccelerator":
        """Wrap a CPU tensor."""
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=torch.device(NAME, 0),
            requires_grad=False,
        )
        wrapper.held = held
        return wrapper

    def tolist(self) -> Any:
        """The numbers, by way of the CPU."""
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnAccelerator({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # What is made under inference mode could not be given the storage of what it is a view of.
        with torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext():
            return cls._done(func, args, kwargs or {})

    @classmethod
    def _done(cls, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if _is_composed(func):
            return func.decompose(*args, **kwargs)
        flat, _ = tree_flatten((args, kwargs))
        here = [each for each in flat if isinstance(each, Tensor) and not isinstance(each, OnAccelerator)]
        if func not in COPIES and any(each.dim() > 0 for each in here):
            raise RuntimeError(f"{func}: expected all tensors to be on one device, found {NAME} and cpu")
        if func is aten._fused_sdp_choice.default:
            return 0  # as any device without kernels of its own: written out
        if func is aten.copy_.default and not isinstance(args[0], OnAccelerator):
            return args[0].copy_(_held(args[1]), *args[2:], **kwargs)
        to_the_cpu = func is aten._to_copy.default and torch.device(kwargs.get("device") or NAME).type == "cpu"
        out = func(*tree_map(_held, args), **_on_the_cpu(tree_map(_held, kwargs)))
        if to_the_cpu:
            return out
        out = tree_map(lambda each: OnAccelerator(each) if isinstance(each, Tensor) else each, out)
        return return_and_correct_aliasing(func, args, kwargs, out)


def _is_composed(func: Any) -> bool:
    """Whether an operation is made of others; under inference mode PyTorch hands on these, too."""
    return func.namespace == "aten" and torch._C._dispatch_has_kernel_for_dispatch_key(
        func.name(), "CompositeImplicitAutograd"
    )


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnAccelerator) else value


def _is_here(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _on_the_cpu(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {**kwargs, "device": torch.device("cpu")} if _is_here(kwargs.get("device")) else kwargs


class Accelerator(TorchDispatchMode):
    """While it is entered, factories make tensors on the accelerator, and what a GPU would be waited for is counted.

    Attributes:
        waits: how often, by operation; "copy to the CPU" among them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled() and _is_composed(func):
            with self:
                return func.decompose(*args, **kwargs)
        flat, _ = tree_flatten((args, kwargs))
        tensors = [each for each in flat if isinstance(each, Tensor)]
        if any(each.device.type != "cpu" for each in tensors):
            self._count(func, args, kwargs)
        elif _is_here(kwargs.get("device")):
            out = func(*args, **_on_the_cpu(kwargs))
            return tree_map(lambda each: OnAccelerator(each) if isinstance(each, Tensor) else each, out)
        return func(*args, **kwargs)

    def _count(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        name = func._schema.name.rpartition("::")[2]
        if name in WAITS:
            self.waits[name] += 1
        if name == "_to_copy" and torch.device(kwargs.get("device") or NAME).type == "cpu":
            self.waits["copy to the CPU"] += 1
        if name == "copy_" and args[0].device.type == "cpu":
            self.waits["copy to the CPU"] += 1
        if name in ("index", "index_put", "index_put_", "_unsafe_index"):
            masks = [each for each in args[1] if isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8)]
            self.waits["nonzero"] += len(masks)


class _Module:
    """What ``torch.pretend`` is asked for."""

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def get_rng_state(device: object = None) -> Tensor:
        return torch.get_rng_state()

    @staticmethod
    def set_rng_state(state: Tensor, device: object = None) -> None:
        torch.set_rng_state(state)

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """There is no generator of its own."""

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def synchronize(device: Any = None) -> None:
        """All is done at once."""


_library: list[torch.library.Library] = []


def registered() -> torch.device:
    """Register the device in this process and return it.

    Gradients are found in the thread that asks for them. A thread of the device's own may still hold Python's objects
    when the process ends, and Python then ends the process with it (SIGABRT).
    """
    if not _library:
        torch.autograd.set_multithreading_enabled(False)
        backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
        library = torch.library.Library("aten", "IMPL")
        library.impl("empty_strided", _empty_strided, "PrivateUse1")
        library.impl("empty.memory_format", _empty, "PrivateUse1")
        library.impl("_copy_from", _copy_from, "PrivateUse1")
        _library.append(library)
    return torch.device(NAME, 0)


def _empty_strided(
    size: Any, stride: Any, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None
) -> Tensor:
    return OnAccelerator(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def _copy_from(source: Tensor, destination: Tensor, non_blocking: bool = False) -> Tensor:
    _held(destination).copy_(_held(source))
    return destination


def _empty(
    size: Any,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
    memory_format: Any = None,
) -> Tensor:
    return OnAccelerator(
        torch.empty(size, dtype=dtype, device="cpu", memory_format=memory_format or torch.contiguous_format)
    )
