"""A model for another process: its structure as bytes, its weights as memory that both see.

The structure is pickled with each tensor replaced by the number of its storage. So equal bytes mean: the other process
still has today's model, its modes and configurations included. A storage travels once. It becomes shared memory in
place, so that a step of an optimizer, which writes in place, is seen over there without any copy.
"""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import socket
import sys
from collections.abc import Iterable
from multiprocessing import reduction
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch.multiprocessing import get_sharing_strategy
from torch.multiprocessing.reductions import reduce_storage, reduce_tensor

from hangtight.errors import SettingsError

PLAIN = (torch.Tensor, torch.nn.Parameter)
DEVICES = ("cpu", "cuda")
FOR_GRADIENTS = "make_inputs_require_grads"
FDS_AT_ONCE = 200  # the kernel takes 253 in one message
CANNOT = (pickle.PicklingError, AttributeError, TypeError, RuntimeError, ValueError, NotImplementedError)

Key = tuple[int, int, int]
"""A storage as long as somebody holds it: its implementation's address, where its bytes are, how many."""


class Packed(NamedTuple):
    structure: bytes
    storages: dict[Key, Any]


class Sent(NamedTuple):
    """How the other process gets the storage: the descriptor at this place, or what a function returns."""

    key: Key
    place: int | None
    rebuilt_by: tuple[Any, tuple[Any, ...]] | None


def pack(model: Any) -> Packed:
    """Its structure, and the storages that it names. Nothing is moved yet."""
    file = io.BytesIO()
    pickler = _Pickler(file, model)
    try:
        pickler.dump(model)
    except CANNOT as error:
        raise _refused(model, error) from error
    return Packed(file.getvalue(), pickler.storages)


def refuse_what_is_compiled(model: Any) -> None:
    if hasattr(model, "_orig_mod"):
        raise SettingsError("model", type(model), "the model that was compiled (model._orig_mod), with isolate=True")


def refuse_what_cannot_be_shared(model: Any) -> None:
    """Weights that would travel as a copy would be yesterday's weights at the next call."""
    for named in (model.named_parameters, model.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            if type(tensor) not in PLAIN or tensor.device.type not in DEVICES or tensor.layout is not torch.strided:
                kind = f"{type(tensor).__name__} on {tensor.device.type}"
                wanted = "a plain tensor on cpu or cuda with isolate=True, which shares its memory with another process"
                raise SettingsError(name, kind, wanted)


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, root: Any) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.storages: dict[Key, Any] = {}
        self._root = root
        self.dispatch_table = {
            **copyreg.dispatch_table,
            **dict.fromkeys(PLAIN, self._reduce),
            type(root): self._without_what_stands_around_it,
        }

    def reducer_override(self, value: Any) -> Any:
        """Checkpointing of activations hangs a local function at the inputs, which means nothing without gradients."""
        if type(value) is FunctionType and value.__name__ == FOR_GRADIENTS:
            return _nothing_hooked, ()
        return NotImplemented

    def _reduce(self, tensor: Any) -> tuple[Any, ...]:
        storage = tensor.untyped_storage()
        key = (storage._cdata, storage.data_ptr(), storage.nbytes())
        self.storages[key] = storage
        view = (tensor.dtype, tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
        return _placeholder, (key, view, isinstance(tensor, torch.nn.Parameter), tensor.requires_grad)

    def _without_what_stands_around_it(self, module: Any) -> tuple[Any, ...]:
        """Our own wrapper of `generate` and accelerate's of `forward` (see `autocasts`) stay here."""
        reduced: tuple[Any, ...] = module.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        if module is not self._root or not isinstance(reduced[2], dict):
            return reduced
        left = {"forward", "_original_forward"} if "_original_forward" in reduced[2] else set()
        if type(reduced[2].get("generate")).__module__.startswith("hangtight."):
            left.add("generate")
        return (*reduced[:2], {name: value for name, value in reduced[2].items() if name not in left}, *reduced[3:])


def _nothing_hooked() -> Any:
    return _nothing


def _nothing(*_: object) -> None:
    """In the place of a hook that is not needed."""


def _placeholder(*_: object) -> Any:
    raise RuntimeError("only `unpack` may load this")


def unpack(structure: bytes, storages: dict[Key, Any]) -> Any:
    """The model again, over these storages."""
    return _Unpickler(io.BytesIO(structure), storages).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, storages: dict[Key, Any]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (__name__, _placeholder.__name__):
            return self._tensor
        return super().find_class(module, name)

    def _tensor(self, key: Key, view: tuple[Any, ...], is_parameter: bool, requires_grad: bool) -> Any:
        dtype, offset, shape, stride = view
        storage = self._storages[key]
        tensor = torch.empty(0, dtype=dtype, device=storage.device).set_(storage, offset, shape, stride)
        if is_parameter:
            return torch.nn.Parameter(tensor, requires_grad=requires_grad)
        return tensor.requires_grad_(requires_grad)


def make_shared(storages: Iterable[Any]) -> None:
    """Moves their bytes to shared memory. All that looks at them follows, and their keys change."""
    moving = [each for each in storages if each.device.type == "cpu" and each.nbytes() and not each.is_shared()]
    _refuse_more_than_fits(moving)
    try:
        for storage in moving:
            storage.share_memory_()
    except RuntimeError as error:
        if "Too many open files" not in str(error):
            raise
        wanted = (
            f"used where a process may open a file for each of {len(moving)} tensors: ulimit -n {len(moving) + 1024}"
        )
        raise SettingsError("isolate", True, wanted) from error


def told(storages: dict[Key, Any]) -> tuple[list[Sent], list[int]]:
    """How they are told to the other process, and the descriptors that go with it."""
    sent: list[Sent] = []
    fds: list[int] = []
    for key, storage in storages.items():
        if storage.device.type == "cuda":
            bytes_of_it = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
            sent.append(Sent(key, None, reduce_tensor(bytes_of_it)))
        elif storage.nbytes() and get_sharing_strategy() == "file_descriptor":
            fd, size = storage._share_fd_cpu_()
            sent.append(Sent(key, len(fds), (type(storage), (size,))))
            fds.append(fd)
        else:
            sent.append(Sent(key, None, reduce_storage(storage)))
    return sent, fds


def _refuse_more_than_fits(storages: Iterable[Any]) -> None:
    """Where `/dev/shm` is too small, as in a container, the process that writes there may be killed: this one."""
    if not sys.platform.startswith("linux") or not os.path.isdir("/dev/shm"):
        return
    needed = sum(each.nbytes() for each in storages)
    room = os.statvfs("/dev/shm")
    free = room.f_bavail * room.f_frsize
    if needed > free:
        wanted = f"used where /dev/shm has {needed / 1e6:.0f} MB free for the weights (docker run --shm-size)"
        raise SettingsError("isolate", f"True with {free / 1e6:.0f} MB", wanted)


def taken(sent: Iterable[Sent], fds: list[int]) -> dict[Key, Any]:
    """In the other process: the storages that were sent. The descriptors are used up."""
    storages = {}
    for key, place, how in sent:
        make, args = how or (None, ())
        if place is None:
            made = make(*args)  # type: ignore[misc]
            storages[key] = made.untyped_storage() if isinstance(made, torch.Tensor) else made
        else:
            try:
                storages[key] = make._new_shared_fd_cpu(fds[place], *args)  # type: ignore[union-attr]
            finally:
                os.close(fds[place])
    return storages


def send_fds(connection: Any, fds: list[int]) -> None:
    for start in range(0, len(fds), FDS_AT_ONCE):
        with _socket_of(connection) as wire:
            reduction.sendfds(wire, fds[start : start + FDS_AT_ONCE])  # type: ignore[attr-defined, unused-ignore]


def receive_fds(connection: Any, count: int) -> list[int]:
    fds: list[int] = []
    while len(fds) < count:
        with _socket_of(connection) as wire:
            fds += reduction.recvfds(wire, min(FDS_AT_ONCE, count - len(fds)))  # type: ignore[attr-defined, unused-ignore]
    return fds


def _socket_of(connection: Any) -> socket.socket:
    if sys.platform == "win32":
        raise OSError("memory has a name there, and no descriptor travels")
    wire = socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)
    wire.settimeout(None)  # a default that somebody set would make the connection itself non-blocking
    return wire


def finish_what_was_queued(storages: Iterable[Any]) -> None:
    """A step of an optimizer may be queued on the GPU still; another process does not wait for our queue."""
    for device in {each.device for each in storages if each.device.type == "cuda"}:
        torch.cuda.synchronize(device)


def autocasts(model: Any) -> list[tuple[str, Any]]:
    """The mixed precision that holds here: of the code around us, or of accelerate's wrapper of this model."""
    around = [(kind, torch.get_autocast_dtype(kind)) for kind in DEVICES if torch.is_autocast_enabled(kind)]
    if around or "_original_forward" not in vars(model):
        return around
    from accelerate.state import AcceleratorState

    named = AcceleratorState._shared_state.get("_mixed_precision")
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(str(named))
    return [(next(model.parameters()).device.type, dtype)] if dtype is not None else []


def pickled(settings: dict[str, Any]) -> bytes:
    """What `generate` is called with, by value."""
    for name, value in settings.items():
        if isinstance(value, torch.nn.Module):
            raise SettingsError(name, type(value), "left out with isolate=True: only one model is shared")
    try:
        return pickle.dumps(settings, pickle.HIGHEST_PROTOCOL)
    except CANNOT as error:
        for name, value in settings.items():
            if not _can_be_pickled(value):
                raise _not_picklable(name, value) from error
        raise


def _refused(model: Any, error: Exception) -> SettingsError:
    """Names the part that does not travel."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name in ("_modules", "_parameters", "_buffers") or _can_be_pickled(value):
                continue
            return _not_picklable(".".join(filter(None, ("model", path, name))), value)
    wanted = "a model that can be pickled, because isolate=True sends it to another process"
    return SettingsError("model", f"{type(model).__name__}: {error}", wanted)


def _not_picklable(name: str, value: object) -> SettingsError:
    wanted = (
        "something that can be pickled (a function or class at the top level of a module, no lambda, no streamer), "
        "because isolate=True sends it to another process; or leave isolate=True out"
    )
    return SettingsError(name, value, wanted)


def _can_be_pickled(value: object) -> bool:
    try:
        pickle.dumps(value)
    except CANNOT:
        return False
    return True
