"""How many weights of a trained model are near zero, beside its accuracy."""

from collections.abc import Mapping

from pandas import DataFrame

from trainlab.evaluation.comparison import RunMetrics

COLUMNS = ["run", "parameters", "weights", "near_zero", "accuracy"]


def sparsity(metrics: Mapping[str, RunMetrics]) -> DataFrame:
    """Return the sparsity and the accuracy of each run.

    Parameters
    ----------
    metrics
        From :func:`trainlab.evaluation.comparison.read_metrics`.

    Returns
    -------
    DataFrame
        :data:`COLUMNS`; see :func:`trainlab.evaluation.weights.count_weights`. The accuracy is the mean over the
        replicas.
    """
    rows = [{"run": run, **of_run["model"], "accuracy": of_run["accuracy"]["mean"]} for run, of_run in metrics.items()]
    return DataFrame(rows, columns=COLUMNS)
