from typing import Any

import pytest
import torch
from pandas import DataFrame

from small import PARAMS, dataset, run_config
from trainlab import config
from trainlab.studies.compute import COLUMNS, compute, operations

SMALL = {"name": "three_layer", "num_filters": 4, "filter_size": 3, "hidden_dim": 8}
MUON = {
    "name": "muon",
    "momentum": 0.6,
    "iterations": 3,
    "other_momentum": 0.85,
    "linear_rate": 1.0,
    "bias_rate": 1.0,
}
TAUGHT = {"name": "teacher_student", "alpha": 0.5, "temperature": 1.0}
FILTERS, PATCH, PIXELS, HIDDEN, CLASSES = 4, 3 * 3 * 3, 20 * 20, 8, 4
CONVOLUTION = 2 * FILTERS * PATCH * PIXELS
LINEAR = 2 * (FILTERS * PIXELS // 4 * HIDDEN + HIDDEN * CLASSES)
PER_IMAGE = 2 * CONVOLUTION + 3 * LINEAR  # no gradient of the images


@pytest.mark.parametrize(
    ("own", "images"),
    [({}, 40), ({"epochs": 5}, 40), ({"subset": 12}, 12), ({"validation": 0.1}, 36), ({"precision": "bfloat16"}, 40)],
    ids=str,
)
def test_a_network_of_one_convolution_and_two_linear_layers(own: dict[str, Any], images: int) -> None:
    run = run_config(model=SMALL, **own)
    assert operations(run, dataset(40, CLASSES)) == run.epochs * images * PER_IMAGE


def test_the_optimizers_matrix_products_count_per_step() -> None:
    steps, rows, columns = 2 * 3, FILTERS, PATCH  # two epochs of 40 images, 16 per step
    own = 3 * (2 * 2 * rows**2 * columns + 2 * rows**3)
    run = run_config(model=SMALL, optimizer=MUON)
    assert operations(run, dataset(40, CLASSES)) == 2 * 40 * PER_IMAGE + steps * own


def test_a_student_and_a_frozen_layer_can_be_counted() -> None:
    params = {
        **PARAMS,
        "students": {"pupil": {"suite": "tricks", "model": SMALL, "teacher": "small", "objective": TAUGHT}},
    }
    student = config.resolve(params)["pupil"]
    assert operations(student, dataset(40, CLASSES)) == 2 * 40 * PER_IMAGE
    record = {"name": "record_cnn", "widths": [4], "output_scale": 0.1, "norm_memory": 0.6}
    frozen = operations(run_config(model={**record, "whitening_eps": 5e-4}), dataset(40, CLASSES))
    trained = operations(run_config(model=record), dataset(40, CLASSES))
    # A trained first layer has gradients of its 24 filters, of 12 numbers each, at 19 × 19 places.
    assert trained - frozen == 2 * 40 * 2 * 24 * 12 * 19**2


def test_the_random_state_is_left_as_it_was() -> None:
    before = torch.get_rng_state()
    operations(run_config(model=SMALL), dataset(40, CLASSES))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_table_has_one_row_per_run_in_the_order_of_the_suite() -> None:
    configs = {"b": run_config(model=SMALL), "a": run_config(model=SMALL, epochs=4)}
    scores = {"accuracy_low": 0.4, "accuracy_high": 0.7, "replicas": 6}
    metrics = DataFrame([{"run": "a", "accuracy": 0.6, **scores}, {"run": "b", "accuracy": 0.5, **scores}])
    table = compute(configs, metrics, dataset(40, CLASSES))
    assert list(table) == COLUMNS
    assert table["run"].to_list() == ["b", "a"]
    assert table["accuracy"].to_list() == [0.5, 0.6]
    assert table["petaflop"].to_list() == [2 * 40 * PER_IMAGE / 1e15, 4 * 40 * PER_IMAGE / 1e15]
