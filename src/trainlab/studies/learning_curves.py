"""Points of learning curves: the last epoch, and the epochs with the lowest test loss and test error."""

from pandas import DataFrame

COLUMNS = ["run", "loss_epoch", "loss", "last_loss", "error_epoch", "error", "last_error"]


def last_epoch(curves: DataFrame) -> DataFrame:
    """Return the values of each run after its last epoch, means over its replicas.

    Parameters
    ----------
    curves
        From :func:`trainlab.evaluation.comparison.curves`.

    Returns
    -------
    DataFrame
        ``run, train_loss, train_accuracy, test_loss, test_accuracy``.
    """
    last = curves[curves["epoch"] == curves.groupby("run")["epoch"].transform("max")]
    return last.groupby("run", sort=False).mean().drop(columns=["replica", "epoch"]).reset_index()


def turning_points(curves: DataFrame) -> DataFrame:
    """Return the epochs after which the test loss and the test error of each run no longer decrease.

    Parameters
    ----------
    curves
        From :func:`trainlab.evaluation.comparison.curves`.

    Returns
    -------
    DataFrame
        :data:`COLUMNS`: the first epoch with the lowest test loss, this loss, and the loss after the last epoch; the
        same of the test error. Means over the replicas.
    """
    rows = []
    for run, of_run in curves.groupby("run", sort=False):
        means = of_run.groupby("epoch").mean(numeric_only=True)
        row = {"run": run}
        for name, values in (("loss", means["test_loss"]), ("error", 1 - means["test_accuracy"])):
            row |= {f"{name}_epoch": values.idxmin(), name: values.min(), f"last_{name}": values.iloc[-1]}
        rows.append(row)
    return DataFrame(rows)
