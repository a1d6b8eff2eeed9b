import numpy as np
import pytest
import torch
from torch import Tensor, nn

from small import dataset
from trainlab.data.batches import Batches
from trainlab.training.inference import BATCH, Views, averaged, outputs_of


class Weighted(nn.Module):
    """A linear function of the pixels, so that the mean over views is easily computed apart."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.randn(3, 20, 20, 4, generator=torch.Generator().manual_seed(0))

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nchw,chwk->nk", images, self.weights)


def views_of(image: np.ndarray, views: Views) -> list[tuple[float, np.ndarray]]:
    """Return views of ``[channels, height, width]`` with their shares."""
    if not views:
        return [(1.0, image)]
    if views == "mirrored":
        return [(0.5, image), (0.5, image[:, :, ::-1])]
    size = image.shape[1]
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    moved = [padded[:, :size, :size], padded[:, 2:, 2:]]  # down and right, up and left
    return [(w / 2, v) for w, v in views_of(image, "mirrored")] + [
        (w / 4, v) for shifted in moved for w, v in views_of(shifted, "mirrored")
    ]


@pytest.mark.parametrize("views", ["", "mirrored", "mirrored_and_shifted"])
def test_outputs_are_means_over_the_views(views: Views) -> None:
    net, batches = Weighted(), Batches(dataset(BATCH + 3), inputs="raw", device=torch.device("cpu"))
    images = batches.slice(0, BATCH + 3)[0].numpy()
    means = [sum(share * view for share, view in views_of(image, views)) for image in images]
    expected = net(torch.from_numpy(np.stack(means)).float())
    torch.testing.assert_close(outputs_of(net, batches, views), expected, rtol=1e-4, atol=1e-4)


def test_shares_of_the_views_sum_to_one() -> None:
    assert sum(share for share, _ in views_of(np.zeros((3, 5, 5)), "mirrored_and_shifted")) == 1
    ones = averaged(lambda images: torch.ones(len(images), 1), torch.zeros(2, 3, 5, 5), "mirrored_and_shifted")  # type: ignore[arg-type]
    assert ones.tolist() == [[1.0], [1.0]]
