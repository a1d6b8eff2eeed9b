"""What a step does to each layer: the norm of its gradient, and how far it moves its weights relative to their size."""

import torch
from torch import Tensor, nn

TINY = 1e-12  # weights that are all zero are moved infinitely far


class LayerStatistics:
    """Means over the steps of an epoch, by layer: the network's direct children.

    Call :meth:`before` and :meth:`after` around each optimizer's step, and :meth:`row` at the end of an epoch.

    Parameters
    ----------
    net
        The network.
    """

    def __init__(self, net: nn.Module) -> None:
        self._layers = [name.partition(".")[0] for name, _ in net.named_parameters()]
        self._parameters = [parameter.detach() for parameter in net.parameters()]
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def before(self, gradients: list[Tensor]) -> None:
        """Note the gradients that the optimizer is about to use, and where the weights are."""
        self._gradients = _squares(gradients)
        self._weights = _squares(self._parameters)
        self._copies = [parameter.clone() for parameter in self._parameters]

    def after(self) -> None:
        """Note where the weights went."""
        moved = _squares(list(torch._foreach_sub(self._parameters, self._copies)))
        self._steps += 1
        for layer in dict.fromkeys(self._layers):
            indices = [index for index, name in enumerate(self._layers) if name == layer]
            gradient, weight, change = (
                torch.stack([squares[index] for index in indices]).sum().sqrt()
                for squares in (self._gradients, self._weights, moved)
            )
            self._add(f"gradient_norm.{layer}", gradient)
            self._add(f"update_ratio.{layer}", change / weight.clamp(min=TINY))

    def row(self) -> dict[str, float]:
        """``gradient_norm.LAYER`` and ``update_ratio.LAYER`` (‖change‖ / ‖weights‖, about 1e-3 in healthy training)."""
        means = {name: float(total) / self._steps for name, total in self._sums.items()}
        self._sums, self._steps = {}, 0
        return means

    def _add(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums.get(name, 0) + value


def _squares(tensors: list[Tensor]) -> list[Tensor]:
    return [norm.double() ** 2 for norm in torch._foreach_norm(tensors)]
