"""Who holds which value now: tensors are views of storages, and steps in place write over them."""

from collections.abc import Callable
from weakref import ref

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from relsplit.lrp.recording.remade import Kept, Origin, Remade, fills_storage
from relsplit.lrp.recording.step import Saved, Step

Geometry = tuple[torch.Size, tuple[int, ...], int, torch.dtype]
"""Shape, strides, offset and type: which entries of a storage a tensor sees, and in what order."""

_SWEEP_EVERY = 64


def geometry_of(tensor: Tensor) -> Geometry:
    """Return which entries of its storage ``tensor`` sees."""
    return tensor.shape, tensor.stride(), int(tensor.storage_offset()), tensor.dtype


class _Contents:
    """What one storage holds at the moment."""

    def __init__(self, storage: torch.UntypedStorage) -> None:
        self.alive = StorageWeakRef(storage)  # while it is referred to, no other storage gets its address
        self.bytes = storage.nbytes()
        self.whole: tuple[Geometry, Step] | None = None  # the last value that all else here is a view of
        self.views: dict[Geometry, Step] = {}


class Holders:
    """Finds the step that made what a tensor holds.

    Args:
        restride: makes the step that reads other entries of a step's storage: (whole, its geometry, the geometry read).
        overwrite: makes the step of a whole storage, flat, after a part of it was written: (the flat step before, or
            None for constants; what was written, or None for constants; the flat geometry; the part's).
        in_graph: whether what is saved stays part of autograd's graph.
    """

    def __init__(
        self,
        restride: Callable[[Step, Geometry, Geometry, int], Step],
        overwrite: Callable[[Step | None, Step | None, Geometry, Geometry, torch.device], Step],
        in_graph: bool = False,
    ) -> None:
        self._in_graph = in_graph
        self._restride = restride
        self._overwrite = overwrite
        self._contents: dict[int, _Contents] = {}
        self._saved: dict[int, list[ref[Saved]]] = {}
        self._origins: dict[int, tuple[StorageWeakRef, torch.dtype, Origin]] = {}
        self._until_sweep = _SWEEP_EVERY

    def of(self, tensor: Tensor) -> Step | None:
        """Return the step that made what ``tensor`` holds now, None where nothing of it depends on the input."""
        contents = self._contents.get(tensor.untyped_storage()._cdata)
        if contents is None or contents.whole is None:
            return None
        geometry = geometry_of(tensor)
        step = contents.views.get(geometry)
        if step is None:
            whole, made = contents.whole
            step = self._restride(made, whole, geometry, contents.bytes // tensor.element_size())
            contents.views[geometry] = step
        return step

    def put(self, tensor: Tensor, step: Step) -> None:
        """Note that ``tensor``, new or a new view, holds what ``step`` made."""
        storage = tensor.untyped_storage()
        contents = self._contents.get(storage._cdata)
        if contents is None:
            contents = self._contents[storage._cdata] = _Contents(storage)
            self._sweep()
        geometry = geometry_of(tensor)
        if contents.whole is None:
            contents.whole = (geometry, step)
        contents.views[geometry] = step

    def write(self, tensor: Tensor, step: Step | None) -> None:
        """Note that ``tensor`` was written over with what ``step`` made, None for constants."""
        storage = tensor.untyped_storage()
        contents = self._contents.get(storage._cdata)
        geometry = geometry_of(tensor)
        numel = storage.nbytes() // tensor.element_size()
        if tensor.numel() == numel or (contents and contents.whole and contents.whole[0] == geometry):
            self._contents.pop(storage._cdata, None)
            if step is not None:
                self.put(tensor, step)
            return
        flat: Geometry = (torch.Size([numel]), (1,), 0, tensor.dtype)
        if contents is None:
            if step is None:
                return
            contents = self._contents[storage._cdata] = _Contents(storage)
        before = None
        if contents.whole is not None:
            whole, made = contents.whole
            before = made if whole == flat else self._restride(made, whole, flat, numel)
        contents.whole = (flat, self._overwrite(before, step, flat, geometry, tensor.device))
        contents.views = {flat: contents.whole[1]} if step is None else {geometry: step, flat: contents.whole[1]}

    def save(self, tensor: Tensor) -> Saved:
        """Return ``tensor`` as it is now, for the way back."""
        remade = self._remade(tensor)
        if remade is not None:
            return remade
        # Another tensor of the same memory: what it is called with in place may change its shape.
        saved = Saved(torch.ops.aten.alias(tensor) if self._in_graph else tensor.detach())
        self._saved.setdefault(tensor.untyped_storage()._cdata, []).append(ref(saved))
        return saved

    def put_origin(self, tensor: Tensor, origin: Origin) -> None:
        """Note how what ``tensor`` holds, all of its storage, can be made again: it is not kept."""
        storage = tensor.untyped_storage()
        self._origins[storage._cdata] = (StorageWeakRef(storage), tensor.dtype, origin)

    def had_again(self, tensor: Tensor) -> Remade | None:
        """Return what has the value of ``tensor`` on the way back without keeping it, None where nothing has."""
        remade = self._remade(tensor)
        if remade is not None:
            return remade
        for reference in self._saved.get(tensor.untyped_storage()._cdata, ()):
            saved = reference()
            if saved is not None and saved.tensor.dtype == tensor.dtype and fills_storage(saved.tensor):
                return Remade(Kept(saved), tensor)
        return None

    def _remade(self, tensor: Tensor) -> Remade | None:
        found = self._origins.get(tensor.untyped_storage()._cdata)
        if found is None or found[1] != tensor.dtype:
            return None
        return Remade(found[2], tensor)

    def protect(self, tensor: Tensor) -> None:
        """Copy what was saved of the storage of ``tensor``, which is about to be written over."""
        storage = tensor.untyped_storage()._cdata
        self._origins.pop(storage, None)
        for reference in self._saved.pop(storage, ()):
            saved = reference()
            if saved is not None:
                saved.copy()

    def forget(self) -> None:
        """Forget all storages: what no output can reach is freed."""
        self._contents.clear()
        self._saved.clear()
        self._origins.clear()

    def _sweep(self) -> None:
        """Forget storages that nobody holds any more, and with them steps that nothing else can reach."""
        self._until_sweep -= 1
        if self._until_sweep:
            return
        self._until_sweep = _SWEEP_EVERY
        for key in [key for key, contents in self._contents.items() if contents.alive.expired()]:
            del self._contents[key]
        for key in [key for key, (alive, *_) in self._origins.items() if alive.expired()]:
            del self._origins[key]
