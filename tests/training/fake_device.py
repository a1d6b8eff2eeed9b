"""A device that is not the CPU and computes nothing: mixing devices raises, and each wait for the device is recorded.

Its tensors have shapes, dtypes and devices, but no values. A wait is an operation that stops the host until a GPU has
finished its work: a number that Python needs (``float(tensor)``, ``bool(tensor)``), a shape that depends on values
(``nonzero``, a mask as an index), or a copy between the device and the CPU.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import trainlab
from trainlab.training import devices, loop

DEVICE = torch.device("lazy", 0)  # autograd's engine needs a driver for "cuda", and none for this one
SOURCE = Path(trainlab.__file__).parent

_INDEXING = ("index", "index_put", "index_put_", "_unsafe_index", "_unsafe_index_put")
_UNCHECKED = ("_foreach_", "_fused_", "cat", "stack")  # operations whose devices FakeTensorMode does not compare
_MATRIX_PRODUCTS = (torch.conv2d, torch._C._nn.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__)


class Wait(NamedTuple):
    """One operation that makes the host wait for the device.

    Parameters
    ----------
    file
        Path below ``src/trainlab`` of the project's innermost line that led to it.
    line
        Number of this line.
    function
        Qualified name of the function that contains the line.
    operation
        Name of torch's operation.
    """

    file: str
    line: int
    function: str
    operation: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}: {self.operation}"


@contextmanager
def fake_device() -> Iterator[list[Wait]]:
    """Compute on :data:`DEVICE`, whatever device a run is configured for, and yield the list of waits so far.

    Networks and images on the device must be created inside the block.
    """
    waits = _Waits()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "choose", lambda name: DEVICE)
        patch.setattr(loop, "Generator", _Generator)
        patch.setattr(nn.Module, "_apply", _apply)
        patch.setattr(torch, "autocast", _Autocast)
        with FakeTensorMode(allow_non_fake_inputs=True), waits, _GeneratorCheck():
            yield waits.found


class _Waits(TorchDispatchMode):
    """Record waits, refuse mixtures of devices that FakeTensorMode does not see, and answer operations that it cannot."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[Wait] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # `tensor.device` and the like
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        used = {_type(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        if len(used) > 1 and (name.startswith(_UNCHECKED) or (name in _INDEXING and _type(args[0]) == "cpu")):
            raise RuntimeError(f"tensors on {' and '.join(sorted(used))}: {_here(name)}")
        if _copies(name, args, kwargs) or (DEVICE.type in used and _needs_values(func, name, args)):
            self.found.append(_here(name))
        if torch.Tag.data_dependent_output in func.tags:  # a number for Python: 1, by which anything can be divided
            return True
        if name == "nonzero":
            return args[0].new_empty((0, args[0].dim()), dtype=torch.int64)
        if name.startswith("_fused_") and not func._schema.returns:  # in place; torch lacks some for fake tensors
            return None
        return func(*args, **kwargs)


def _copies(name: str, args: Any, kwargs: Any) -> bool:
    """Return whether this is a copy between devices; to a GPU, too, torch waits unless the memory is pinned."""
    if name == "copy_":
        return _type(args[0]) != _type(args[1])
    target = kwargs.get("device") if name == "_to_copy" else None
    return target is not None and torch.device(target).type != _type(args[0])


def _needs_values(func: Any, name: str, args: Any) -> bool:
    """Return whether the host needs values of the arguments before it can continue."""
    if name in _INDEXING:  # a mask is converted by `nonzero`, and positions on the CPU are copied
        indices = [index for index in args[1] if index is not None]
        return any(index.dtype in (torch.bool, torch.uint8) or _type(index) == "cpu" for index in indices)
    return torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags


def _type(tensor: Tensor) -> str:
    # `device` of a fake tensor is an operation of its own, which doubles the time of a step.
    return (tensor.fake_device if isinstance(tensor, FakeTensor) else tensor.device).type


def _here(operation: str) -> Wait:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(SOURCE):
            function = frame.f_code.co_qualname.partition(".<locals>")[0]  # a comprehension is in its function
            return Wait(path.relative_to(SOURCE).as_posix(), frame.f_lineno, function, operation)
        frame = frame.f_back
    return Wait("outside of trainlab", 0, "", operation)


class _Generator(torch.Generator):
    """A generator of the CPU that reports another device, because torch makes none for a device without a driver."""

    def __new__(cls, device: torch.device) -> "_Generator":
        return super().__new__(cls)

    def __init__(self, device: torch.device) -> None:
        self._device = device

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self._device


class _GeneratorCheck(TorchFunctionMode):
    """Refuse draws on another device than the generator's; fake tensors ignore generators."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        generator = kwargs.get("generator")
        if generator is not None and isinstance(result, Tensor) and _type(result) != generator.device.type:
            raise RuntimeError(f"a generator of {generator.device} draws on {_type(result)}: {_here(func.__name__)}")
        return result


class _Autocast(TorchFunctionMode):
    """Compute convolutions and matrix products in another dtype, as autocast does; torch has none for this device."""

    def __init__(self, device_type: str, dtype: torch.dtype) -> None:
        super().__init__()
        if device_type != DEVICE.type:
            raise RuntimeError(f"autocast of {device_type} in training on {DEVICE.type}: {_here('autocast')}")
        self._dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _MATRIX_PRODUCTS:
            args = [arg.to(self._dtype) if isinstance(arg, Tensor) else arg for arg in args]
        return func(*args, **(kwargs or {}))


def _apply(module: nn.Module, function: Any, recurse: bool = True) -> nn.Module:
    """Replace all parameters and buffers of a module; torch's method cannot convert fake parameters."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(function(parameter.detach()), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = function(buffer)
    return module
