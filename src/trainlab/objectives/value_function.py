"""Learn the expected reward of each class from the reward of one chosen class (contextual bandit)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor

from trainlab.objectives.base import Draws, Logs, Objective


class ValueFunction(Objective):
    """Value-function estimation with an epsilon-greedy policy.

    The model's outputs are logits of the expected reward of each class. One class is chosen per image; the reward is 1 if
    it is the label and 0 otherwise, and only its value is trained. The label affects the loss only through the reward.

    Parameters
    ----------
    epsilon
        Probability in [0, 1] of choosing a class uniformly at random instead of the class with the highest value.
    consistent
        Whether the values of all classes sum to one, as the expected rewards of a single label do: the value of class c is
        then softmax(outputs)[c] instead of sigmoid(outputs[c]).

    References
    ----------
    Sutton and Barto, *Reinforcement Learning: An Introduction*, 2nd ed., section 2.2.
    """

    name: Literal["value_function"]
    epsilon: float = Field(ge=0, le=1)
    consistent: bool = False

    def draw(self, batch: int, num_classes: int, *, generator: Generator) -> Draws:
        """Return ``explore`` (``[batch]``, uniform in [0, 1)) and ``choice`` (``[batch]``, class indices)."""
        device = generator.device
        return {
            "explore": torch.rand(batch, device=device, generator=generator),
            "choice": torch.randint(num_classes, (batch,), device=device, generator=generator),
        }

    def loss(self, outputs: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Logs]:
        """Return the binary cross entropy of the chosen class's value against its reward.

        Parameters
        ----------
        outputs
            Logits of the values (logits of a softmax if consistent), ``[batch, classes]``.
        labels
            Class indices, ``[batch]``, int64.
        draws
            Random numbers from :meth:`draw`.

        Returns
        -------
        loss
            Scalar, mean over the batch, in nats.
        logs
            ``reward``: mean reward of the choices, in [0, 1].
        """
        explore = draws["explore"] < self.epsilon
        greedy = outputs.detach().argmax(1)
        chosen = torch.where(explore, draws["choice"], greedy)[
            :, None
        ]  # `where` and not `if`, which would wait for a GPU
        reward = (chosen.squeeze(1) == labels).to(outputs.dtype)
        value = outputs.gather(1, chosen).squeeze(1)
        if self.consistent:  # the logit of softmax(outputs)[chosen]
            value = value - outputs.scatter(1, chosen, -torch.inf).logsumexp(1)
        return F.binary_cross_entropy_with_logits(value, reward), {"reward": reward.mean()}
