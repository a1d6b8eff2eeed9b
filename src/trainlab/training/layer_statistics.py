"""Statistics of each layer per step: the norm of its gradient, and the ratio of its update to its weights."""

from typing import Any

import torch
from torch import Tensor, nn

TINY = 1e-12  # smallest divisor, for weights that are all zero


class LayerStatistics:
    """Means over the steps of an epoch, per layer: a direct child of the network.

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
        """Record the gradients that the optimizer will use, and the weights."""
        self._gradients = _squares(gradients)
        self._weights = _squares(self._parameters)
        self._copies = [parameter.clone() for parameter in self._parameters]

    def after(self) -> None:
        """Record the changed weights."""
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
        """Return the means since the last call and start anew.

        Returns
        -------
        dict
            ``gradient_norm.LAYER``, and ``update_ratio.LAYER``: ‖update‖ / ‖weights‖, about 1e-3 in healthy training.
        """
        means = {name: float(total) / self._steps for name, total in self._sums.items()}
        self._sums, self._steps = {}, 0
        return means

    def state(self) -> dict[str, Any]:
        """Return the sums since the last row, by name, and the number of steps."""
        return {"steps": self._steps, **{f"sum.{name}": total for name, total in self._sums.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the sums of a state, or from none."""
        device = self._parameters[0].device
        self._steps = state.get("steps", 0)
        sums = {name.removeprefix("sum."): total for name, total in state.items() if name.startswith("sum.")}
        self._sums = {name: total.to(device) for name, total in sums.items()}

    def _add(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums.get(name, 0) + value


def _squares(tensors: list[Tensor]) -> list[Tensor]:
    return [norm.double() ** 2 for norm in torch._foreach_norm(tensors)]
