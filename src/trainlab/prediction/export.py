"""A trained model as one graph for other runtimes: ONNX, or a program of ``torch.export``.

The graph takes the pixels of images and returns probabilities: it normalizes the images like
:class:`~trainlab.data.batches.Batches`, computes the scores of each replica, and averages the probabilities.

Input: ``images``, ``[batch, channels, height, width]``, uint8, in the size of the training images; the batch may have any
size. Outputs: ``probabilities``, ``[batch, classes]``, float32, mean over the replicas; ``scores``,
``[batch, replicas, classes]``, float32.
"""

import json
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from trainlab.data import batches
from trainlab.data.stored import Dataset
from trainlab.errors import UserError
from trainlab.files import written_whole
from trainlab.training import devices
from trainlab.training.inference import averaged
from trainlab.training.model_file import TrainedModel

INPUT, OUTPUTS = "images", ("probabilities", "scores")
LARGEST_ONNX = 2**31 - 1  # bytes of a file of protocol buffers


class _Graph(nn.Module):
    """What is exported: all replicas of a model, from pixels to probabilities."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: TrainedModel, replica: int | None) -> None:
        super().__init__()
        channels, height, width = model.shape
        one = np.zeros((1, *model.shape), np.uint8)
        statistics = Dataset(one, np.zeros(1, np.int64), model.classes, model.mean, model.std, model.mean_image)
        for name, values in zip(
            ("scale", "shift"), batches.scale_and_shift(statistics, model.config.inputs), strict=True
        ):
            rows = torch.from_numpy(values).view(height, width, channels)
            self.register_buffer(name, rows.permute(2, 0, 1).contiguous())
        self.objective, self.views = model.config.objective, model.config.views
        self.nets = nn.ModuleList()
        for weights in model.weights if replica is None else [model.weights[replica]]:
            net = model.config.model.build(model.shape, self.objective.num_outputs(len(model.classes)))
            net.load_state_dict(weights)
            self.nets.append(net)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        inputs = torch.addcmul(self.shift, images.to(torch.float32), self.scale)
        scores = torch.stack([self.objective.scores(averaged(net, inputs, self.views)) for net in self.nets], 1)
        return scores.softmax(2).mean(1), scores


def program(model: TrainedModel, replica: int | None = None) -> ExportedProgram:
    """Return a model as a program of ``torch.export``.

    Parameters
    ----------
    model
        The model.
    replica
        The only replica to export, from 0; None for all of them.
    """
    with torch.random.fork_rng(devices=[]):  # building a network draws initial weights
        graph = _Graph(model, replica)
    example = torch.zeros(2, *model.shape, dtype=torch.uint8)
    with _traceable():
        exported = torch.export.export(graph, (example,), dynamic_shapes={INPUT: {0: Dim("batch")}})
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this computer
    return exported


def save_torch_export(model: TrainedModel, path: Path, replica: int | None = None) -> None:
    """Write a model as a program that ``torch.export.load`` reads, completely or not at all.

    Its extra file ``trainlab.json`` has what :func:`description` returns.
    """
    exported = program(model, replica)
    with written_whole(path) as aside, aside.open("wb") as file:
        torch.export.save(exported, file, extra_files={"trainlab.json": json.dumps(description(model, replica))})


def save_onnx(model: TrainedModel, path: Path, replica: int | None = None) -> None:
    """Write a model in ONNX format, completely or not at all.

    Its metadata have what :func:`description` returns, each value as JSON.

    Raises
    ------
    UserError
        If the packages of the extra `onnx` are not installed, or the file would be larger than ONNX allows.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch.onnx imports it)
    except ImportError as error:
        raise UserError(
            f"export to ONNX needs the package {error.name}: run `pip install onnx onnxscript`, or use"
            f" `--format torch_export`"
        ) from error

    with _traceable(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of these packages about each other's versions
        exported: Any = torch.onnx.export(
            program(model, replica),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: "batch"},),  # the name of this dimension in the file
            verbose=False,
        )
    proto = exported.model_proto
    for item in (proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        item.ClearField("metadata_props")  # paths of this computer and lines of this module
    facts = {key: json.dumps(value, ensure_ascii=False) for key, value in description(model, replica).items()}
    onnx.helper.set_model_props(proto, facts)
    if proto.ByteSize() > LARGEST_ONNX:
        raise UserError(f"{path} would be larger than 2 GiB, which ONNX does not allow: export single replicas")
    onnx.checker.check_model(proto)
    with written_whole(path) as aside:
        onnx.save(proto, aside)


def description(model: TrainedModel, replica: int | None = None) -> dict[str, Any]:
    """Return what a user of an exported file must know: ``run``, ``classes``, ``replicas`` and ``inputs``, plain values."""
    return {
        "run": model.config.run,
        "classes": model.classes,
        "replicas": list(range(len(model.weights))) if replica is None else [replica],
        "inputs": model.config.inputs,
    }


def _traceable() -> AbstractContextManager[None]:
    """Return a context in which `torch.export` works after :func:`trainlab.training.devices.prepare`.

    It reads cuDNN's precision by an older name, which is an error while the precision is `ieee` (torch 2.15). Tracing
    computes nothing, so that the precision does not matter.
    """
    return devices.float32_arithmetic("tf32")
