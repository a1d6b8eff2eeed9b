"""Learn a policy over the classes from the reward of one sampled class (policy gradient)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from trainlab.component import NotNegative
from trainlab.objectives.base import Draws, Logs, Objective


class PolicyGradient(Objective):
    """REINFORCE with an entropy bonus and an optional learned baseline.

    The first outputs are logits of the policy, the probability of choosing each class. One class is sampled from it per
    image; the reward is 1 if it is the label and 0 otherwise. The label affects the loss only through the reward.

    Parameters
    ----------
    entropy_weight
        Weight of the policy's entropy, which is subtracted from the loss, ≥ 0. It delays the collapse to one class.
    baseline
        Whether one more output predicts, through a sigmoid, the expected reward of each image. Subtracted from the reward,
        it reduces the variance of the gradient and leaves its expectation unchanged.

    References
    ----------
    Williams 1992, *Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning*, section
    4. Entropy: Mnih et al. 2016, *Asynchronous Methods for Deep Reinforcement Learning*, section 4.
    """

    name: Literal["policy_gradient"]
    entropy_weight: NotNegative
    baseline: bool = False

    def num_outputs(self, num_classes: int) -> int:
        """Return the number of classes, plus one for the baseline."""
        return num_classes + self.baseline

    def draw(self, batch: int, num_classes: int, *, generator: Generator) -> Draws:
        """Return ``gumbel``: noise ``[batch, classes]``; the argmax of it plus log-probabilities is a sample of the policy."""
        uniform = torch.rand(batch, num_classes, device=generator.device, generator=generator)
        tiny = torch.finfo(uniform.dtype).tiny  # `rand` may return 0
        return {"gumbel": -torch.log(-torch.log(uniform.clamp(min=tiny)))}

    def loss(self, outputs: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Logs]:
        """Return the policy's surrogate loss, plus the baseline's binary cross entropy, minus the entropy bonus.

        Parameters
        ----------
        outputs
            The policy's logits, ``[batch, classes]``; with a baseline, one more column with its logit.
        labels
            Class indices, ``[batch]``, int64.
        draws
            Random numbers from :meth:`draw`.

        Returns
        -------
        loss
            Scalar, mean over the batch. Its gradient in the policy is (V − R)·∇log π(a), with V held constant (0 without a
            baseline).
        logs
            ``reward`` (mean, in [0, 1]) and ``entropy`` (mean, in nats); with a baseline ``baseline`` (mean, in [0, 1])
            and ``baseline_loss`` (mean, in nats).
        """
        log_policy = F.log_softmax(self.scores(outputs), 1)
        chosen = (log_policy.detach() + draws["gumbel"]).argmax(1)
        reward = (chosen == labels).to(outputs.dtype)
        entropy = -(log_policy.exp() * log_policy).sum(1).mean()
        logs = {"reward": reward.mean(), "entropy": entropy}
        advantage, baseline_loss = reward, outputs.new_zeros(())
        if self.baseline:
            baseline = outputs[:, -1]
            value = torch.sigmoid(baseline.detach())
            advantage, baseline_loss = reward - value, F.binary_cross_entropy_with_logits(baseline, reward)
            logs |= {"baseline": value.mean(), "baseline_loss": baseline_loss}
        surrogate = -(advantage * log_policy.gather(1, chosen[:, None]).squeeze(1)).mean()
        return surrogate + baseline_loss - self.entropy_weight * entropy, logs

    def closed_form_gradient(self, outputs: Tensor, labels: Tensor, draws: Draws) -> Tensor:
        """Return (V − R)·(onehot(a) − π) in the policy's logits, plus the parts of the entropy and of the baseline.

        The loss holds the advantage constant, so finite differences of it are no reference.
        """
        outputs = outputs.detach()
        policy = torch.softmax(self.scores(outputs), 1)
        action = (policy.log() + draws["gumbel"]).argmax(1)
        reward = (action == labels).to(policy.dtype)
        value = torch.sigmoid(outputs[:, -1]) if self.baseline else torch.zeros_like(reward)
        entropy = -(policy * policy.log()).sum(1, keepdim=True)
        gradient = (value - reward)[:, None] * (F.one_hot(action, policy.shape[1]) - policy)
        gradient += self.entropy_weight * policy * (policy.log() + entropy)
        if self.baseline:
            gradient = torch.cat([gradient, (value - reward)[:, None]], 1)
        return gradient / len(labels)

    def scores(self, outputs: Tensor) -> Tensor:
        """Return the policy's logits."""
        return outputs[:, :-1] if self.baseline else outputs
