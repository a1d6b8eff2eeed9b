from trainlab.studies.sparsity import COLUMNS, sparsity


def test_sparsity_is_beside_the_mean_accuracy_of_each_run() -> None:
    model = {"near_zero": 0.25, "layers": 3, "weights": 8, "parameters": 9}
    metrics = {
        "plain": {"model": model, "accuracy": {"mean": 0.5}},
        "l1": {"model": {**model, "near_zero": 0.75}, "accuracy": {"mean": 0.4}},
    }
    rows = sparsity(metrics)
    assert list(rows.columns) == COLUMNS
    assert rows.to_numpy().tolist() == [["plain", 9, 8, 0.25, 0.5], ["l1", 9, 8, 0.75, 0.4]]
