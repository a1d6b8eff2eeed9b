"""The memory that training needs at least, so that a run that cannot fit is refused before anything is allocated."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from trainlab.config.schema import RunConfig
from trainlab.errors import UserError
from trainlab.models.base import Network
from trainlab.training.loop import build

CGROUP = Path("/sys/fs/cgroup")
LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of versions 2 and 1
GIB = 2**30
META = torch.device("meta")  # of tensors that have a shape and no memory


def check(
    config: RunConfig, shape: tuple[int, int, int], num_classes: int, device: torch.device, *, images: int, count: int
) -> None:
    """Raise an error if a training needs more memory than there is.

    Parameters
    ----------
    config
        The run.
    shape
        ``(channels, height, width)`` of an image.
    num_classes
        Number of classes.
    device
        Where the run computes.
    images
        Number of training images: a step takes no more.
    count
        Number of replicas that are trained at the same time.

    Raises
    ------
    UserError
        If it does, or if the images are too small for the model.
    """
    there, batch = installed(device), min(config.batch_size, images)
    net = _outline(config, shape, num_classes)
    each = of_weights(config, net)
    if count * (each + _roughly(net, shape, batch)) > there:
        each += of_batch(config, net, shape, batch)
    if count * each <= there:
        return
    together = f" for {count} replicas at the same time" if count > 1 else ""
    fewer = ", or train one replica at a time (TRAINLAB_WORKERS=1)" if count > 1 else ""
    raise UserError(
        f"run {config.run}: training needs at least {each * count / GIB:,.1f} GiB of memory{together}, and"
        f" {'this GPU' if device.type == 'cuda' else 'this machine'} has {there / GIB:,.1f} GiB: lower batch_size"
        f" ({config.batch_size}) or the size of the model ({config.model.name}){fewer}"
    )


def needed(config: RunConfig, shape: tuple[int, int, int], num_classes: int, batch: int) -> int:
    """Return the bytes that training one replica needs at least; nothing of that size is allocated.

    They are the weights, their gradients, the optimizer's state, one batch and what its forward pass keeps for the backward
    pass. What a step needs for moments and what the libraries take is not counted, nor is dropout: a training needs more
    than this, so that none that fits is refused.

    Parameters
    ----------
    config
        The run.
    shape
        ``(channels, height, width)`` of an image.
    num_classes
        Number of classes.
    batch
        Images per step.

    Raises
    ------
    UserError
        If the images are too small for the model.
    """
    net = _outline(config, shape, num_classes)
    return of_weights(config, net) + of_batch(config, net, shape, batch)


def _outline(config: RunConfig, shape: tuple[int, int, int], num_classes: int) -> Network:
    """Return the run's network without numbers: its tensors have shapes alone."""
    with torch.random.fork_rng(devices=[]), META:
        return build(config, shape, num_classes, META).eval()


def of_weights(config: RunConfig, net: Network) -> int:
    """Return the bytes of a network's weights, their gradients and the optimizer's state."""
    parameters = list(net.parameters())
    state: dict[str, list[Tensor]] = config.optimizer.start(parameters) | config.optimizer.start_averaging(parameters)
    return 2 * _bytes(parameters) + sum(map(_bytes, state.values())) + _bytes(list(net.buffers()))


def _roughly(net: Network, shape: tuple[int, int, int], batch: int) -> int:
    """Return more bytes than a batch is likely to need: three maps of the images' size per parameter, as wide as the widest.

    Where these fit, :func:`of_batch` is not asked: its first call imports parts of torch for more than a second.
    """
    parameters = list(net.parameters())
    widest = max(len(parameter) for parameter in parameters)
    return 3 * len(parameters) * widest * math.prod(shape[1:]) * batch * 4


def of_batch(config: RunConfig, net: Network, shape: tuple[int, int, int], batch: int) -> int:
    """Return the bytes of a batch, and of what its forward pass through a network on torch's meta device keeps."""
    images = torch.empty((batch, *shape), device=META).contiguous(memory_format=torch.channels_last)
    return _bytes([images]) + _kept(net, images) // (2 if config.precision == "bfloat16" else 1)


def _kept(net: Network, images: Tensor) -> int:
    """Return the bytes that a forward pass keeps for the backward pass, without images, weights and buffers."""
    known = {_storage(tensor) for tensor in (images, *net.parameters(), *net.buffers())}
    tensors: list[Tensor] = []  # which keep their storages, so that no other gets the same place

    def keep(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = net(images)
    sizes = {_storage(tensor): tensor.untyped_storage().nbytes() for tensor in (*tensors, outputs)}
    return sum(size for storage, size in sizes.items() if storage not in known)


def _storage(tensor: Tensor) -> Any:
    return tensor.untyped_storage()._cdata


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def installed(device: torch.device) -> int:
    """Return the bytes of memory that a process can ever get on a device: all of a GPU's, or the machine's with its swap.

    Memory that other processes use now counts as well: they may return it. A limit of the container (cgroup) counts
    instead, where it is lower.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    limits = [psutil.virtual_memory().total]
    for name in LIMITS:
        file = CGROUP / name
        text = file.read_text().strip() if file.is_file() else ""
        limits += [int(text)] if text.isdecimal() else []  # version 2 says `max` for none
    return min(limits) + psutil.swap_memory().total
