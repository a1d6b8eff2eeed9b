"""The usual training loop of tutorials, as the reference for comparisons."""

import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10

from trainlab.config import RunConfig
from trainlab.data.stored import Data, Dataset


class Net(nn.Module):
    """The model tf_cnn as tutorials write it, with ``nn.Dropout``."""

    def __init__(self, dropout_conv: float, dropout_dense: float) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 64, 3), nn.Conv2d(64, 64, 3)
        self.dense, self.head = nn.Linear(1024, 64), nn.Linear(64, 10)
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)
        self.drop_conv, self.drop_dense = nn.Dropout(dropout_conv), nn.Dropout(dropout_dense)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images ``[batch, 3, 32, 32]``."""
        x = self.pool(self.drop_conv(self.relu(self.conv1(x))))
        x = self.pool(self.drop_conv(self.relu(self.conv2(x))))
        x = self.drop_conv(self.relu(self.conv3(x)))
        logits: Tensor = self.head(self.drop_dense(self.relu(self.dense(x.flatten(1)))))
        return logits


def loader(split: Dataset, config: RunConfig, *, shuffle: bool, workers: int = 0) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return a loader of torchvision's dataset class over images in memory, with the usual transforms."""
    # Tutorials always normalize. For a run that does not, the mean and standard deviation change no pixel.
    mean, std = (split.mean, split.std) if config.inputs == "standardized" else ([0.0] * 3, [1.0] * 3)
    steps = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    dataset = CIFAR10.__new__(CIFAR10)
    dataset.data, dataset.targets = np.ascontiguousarray(split.images.transpose(0, 2, 3, 1)), split.labels.tolist()
    dataset.transform, dataset.target_transform = transforms.Compose(steps), None
    return DataLoader(dataset, config.batch_size, shuffle, num_workers=workers, pin_memory=config.device == "cuda")


def train(config: RunConfig, data: Data, workers: int = 0) -> tuple[list[float], float]:
    """Train and return the seconds of each step and the final accuracy on the test images.

    Each epoch starts ``workers`` processes that prepare batches; 0: this process does. On a GPU, too, the loss of each
    step is read, as in tutorials.
    """
    device = torch.device("cuda" if config.device == "cuda" else "cpu")
    assert data.test is not None
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    net = Net(config.model.dropout_conv, config.model.dropout_dense)
    if config.model.initializer:
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
    net.to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.lr, weight_decay=config.optimizer.weight_decay)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, getattr(config.schedule, "gamma", 1.0))
    criterion = nn.CrossEntropyLoss()
    seconds: list[float] = []
    total = 0.0
    batches = loader(data.train, config, shuffle=True, workers=workers)
    for _ in range(config.epochs):
        net.train()
        began = time.perf_counter()
        for images, labels in batches:
            optimizer.zero_grad()
            loss = criterion(net(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            total += loss.item()
            now = time.perf_counter()
            seconds.append(now - began)
            began = now
        scheduler.step()
    net.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in loader(data.test, config, shuffle=False):
            correct += int((net(images.to(device)).argmax(1).cpu() == labels).sum())
    return seconds, correct / len(data.test.labels)
