"""The number of weights of a trained model, and how many of them are near zero."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainlab.training.model_file import TrainedModel

NEAR_ZERO = 1e-3  # initial weights are tens of times as large


def count_weights(trained: "TrainedModel") -> dict[str, Any]:
    """Return the size and the sparsity of a model.

    Returns
    -------
    dict
        ``parameters``, the number of parameters of one replica; ``weights``, the number of those with two dimensions or
        more, which excludes biases and scales; ``near_zero``, the fraction of weights with an absolute value below
        :data:`NEAR_ZERO`, over all replicas.
    """
    outputs = trained.config.objective.num_outputs(len(trained.classes))
    net = trained.config.model.build(trained.shape, outputs)  # buffers are not parameters: the file does not tell them
    names = [name for name, parameter in net.named_parameters() if parameter.dim() >= 2]
    weights = sum(trained.weights[0][name].numel() for name in names)
    near_zero = sum(int((replica[name].abs() < NEAR_ZERO).sum()) for replica in trained.weights for name in names)
    return {
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "weights": weights,
        "near_zero": round(near_zero / (weights * len(trained.weights)), 6),
    }
