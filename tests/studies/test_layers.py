from small import data, run_config
from trainlab.studies.layers import COLUMNS, layers_at_start
from trainlab.training import checks

CONVNET = {"name": "convnet", "width": 3, "depth": 2, "filter_size": 3, "hidden_dim": 4}


def test_layers_at_start_are_those_of_the_check() -> None:
    small = run_config(model={**CONVNET, "initializer": {"name": "gaussian", "std": 1e-3}})
    rows = layers_at_start({"small": small, "plain": run_config(model=CONVNET)}, data().train)
    assert rows["run"].to_list() == ["small"] * 4 + ["plain"] * 4
    assert rows["layer"].to_list() == ["block1.0", "block2.0", "dense", "head"] * 2
    expected = checks.layers_at_start(small, data().train)
    for column in ("mean", "std", "never_positive", "gradient_mean", "gradient_std"):
        assert rows[column].to_list()[:4] == [getattr(layer, column) for layer in expected]
    assert (rows["std"][:4] < 0.02).all()
    assert (rows["std"][4:] > 0.02).all()
    assert (rows["images"] == 250).all()
    assert set(COLUMNS) <= set(rows.columns)
