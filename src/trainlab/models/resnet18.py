"""ResNet-18 for small images."""

from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from trainlab.models.base import Model, Network


class ResNet18(Model):
    """torchvision's ResNet-18 with a 3×3 convolution instead of the 7×7 convolution and its max-pooling.

    11,173,962 parameters with 3 channels and 10 outputs. Without an `initializer` the initial weights are torchvision's
    (Kaiming normal with fan_out in the convolutions).

    Parameters
    ----------
    stem_stride
        Stride of the first convolution, 1 or 2. 1 is usual for 32×32 images; 2 reduces the work of the others to a quarter.

    References
    ----------
    He et al. 2016, *Deep Residual Learning for Image Recognition*, table 1; the 3×3 stem is that of section 4.2.
    """

    name: Literal["resnet18"]
    stem_stride: int = Field(ge=1, le=2)

    def network(self, in_shape: tuple[int, int, int], num_outputs: int) -> Network:
        """Return the network with torch's own initial weights."""
        return _ResNet18Network(self, in_shape, num_outputs)


class _ResNet18Network(Network):
    def __init__(self, model: ResNet18, in_shape: tuple[int, int, int], num_outputs: int) -> None:
        from torchvision.models import resnet18  # here, because its import takes 2 seconds and few runs need it

        super().__init__()
        channels, height, width = in_shape
        # The last layers get 2×2 pixels: batch norm cannot train on one pixel of a batch of one image.
        smallest = 8 * model.stem_stride + 1
        if min(height, width) < smallest:
            raise ValueError(
                f"resnet18 with stem_stride {model.stem_stride} needs images of at least {smallest}×{smallest} pixels,"
                f" and these are {height}×{width}"
            )
        whole = resnet18(num_classes=num_outputs)
        self.conv1 = nn.Conv2d(channels, 64, 3, stride=model.stem_stride, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")  # as in torchvision
        self.bn1 = whole.bn1
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4
        self.head = whole.fc

    def features(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return F.adaptive_avg_pool2d(x, 1).flatten(1)
