"""The studies: a DVC project of their own in studies/, with the pipeline's stages and images."""

import pytest
import yaml

from pipeline.scratch import PROJECT, Scratch
from trainlab import config
from trainlab.config.schema import RunConfig
from trainlab.models.convnet import Convnet


@pytest.fixture
def small_studies(data_repo: Scratch) -> Scratch:
    """Return a repository with two small studies, one of them with a student, nothing trained yet."""
    with data_repo.params("studies/params.yaml") as params:
        student = params["students"]["alpha_1"] | {"suite": "alpha", "teacher": "alpha_0"}
        params |= {
            "threads": 1,
            "suites": {
                "alpha": {"epochs": 1, "subset": 60},
                "rate_step": params["suites"]["rate_step"] | {"epochs": 1},
            },
            "runs": {"alpha_0": {"suite": "alpha"}, "then_5e_2": params["runs"]["then_5e_2"]},
            "students": {"alpha_1": student},
        }
    return data_repo


def test_studies_are_reproduced_apart_from_the_pipeline(small_studies: Scratch) -> None:
    before = set(small_studies.git("ls-files", "studies").stdout.split())  # with an empty dvc.lock
    targets = ["compare@alpha", "draw@alpha", "draw_measure@rate_step", "draw_per_sample_loss"]
    built = small_studies.dvc("--cd", "studies", "repro", *targets)
    assert (built.ran("train"), built.ran("distill")) == ({"alpha_0", "then_5e_2"}, {"alpha_1"})
    assert (built.ran("compare"), built.ran("draw"), built.ran("measure")) == ({"alpha"}, {"alpha"}, {"rate_step"})
    rows = small_studies.table("studies/metrics/alpha.csv")
    assert [(row["run"], row["epochs"], row["subset"]) for row in rows] == [
        (run, "1", "60") for run in ("alpha_0", "alpha_1")
    ]
    assert not small_studies.path("models").exists()

    small_studies.commit("studies")
    tracked = set(small_studies.git("ls-files", "studies").stdout.split())
    results = {
        "measures/rate_step.csv",
        "measures/then_5e_2.csv",
        "metrics/alpha.csv",
        "metrics/alpha-details.json",
        "metrics/alpha.json",
        *(f"metrics/alpha-{kind}.csv" for kind in ("comparisons", "pairs", "seeds")),
        "plots/curves/alpha.csv",
        "plots/effects/alpha.csv",
        "plots/f1/alpha.csv",
        "plots/logs/alpha.csv",
        "plots/measures/rate_step/loss_and_error.png",
        "plots/measures/rate_step/rates.png",
        "plots/measures/then_5e_2/losses.gif",
        "plots/measures/then_5e_2/losses.png",
        "plots/pictures/alpha/confusion-alpha_0.png",
        "plots/pictures/alpha/confusion-alpha_1.png",
        *(f"plots/pictures/alpha/{name}.png" for name in ("curves", "effects", "pairs", "reliability")),
        "plots/pictures/alpha/f1.png",
        "plots/pictures/alpha/logs-alpha_1.png",
    }
    assert tracked - before == {f"studies/{name}" for name in results}  # models and runs are in the cache

    again = small_studies.dvc("--cd", "studies", "repro", *targets)
    assert again.ran_stages() == set()
    for command in (("metrics", "show"), ("exp", "show", "--csv"), ("status",), ("plots", "show")):
        shown = small_studies.dvc(*command)
        assert "alpha" not in shown.stdout + shown.stderr
    assert "alpha_1" in small_studies.dvc("--cd", "studies", "metrics", "show").stdout

    # The code of one measure's pictures: no number is computed again.
    small_studies.append("src/trainlab/studies/plots.py", "\nUNUSED = 1\n")
    again = small_studies.dvc("--cd", "studies", "repro", *targets)
    assert again.ran_stages() == {"draw_measure", "draw_per_sample_loss"}
    assert [name for name in small_studies.changed_files() if "plots/" in name and not name.startswith("src/")] == []


def test_a_study_whose_runs_are_not_compared(small_studies: Scratch) -> None:
    with small_studies.params("studies/params.yaml") as params:
        params["suites"]["alpha"]["against"] = None
    small_studies.dvc("--cd", "studies", "repro", "draw@alpha")
    assert small_studies.table("studies/metrics/alpha-comparisons.csv") == []
    assert len(small_studies.table("studies/metrics/alpha-pairs.csv")) == 1
    pictures = {path.name for path in small_studies.path("studies/plots/pictures/alpha").iterdir()}
    assert "pairs.png" in pictures
    assert "effects.png" not in pictures
    small_studies.dvc("--cd", "studies", "plots", "show")


def test_a_mistake_names_the_file_of_the_studies(small_studies: Scratch) -> None:
    small_studies.edit("studies/params.yaml", "subset: 60", "subsett: 60")
    refused = small_studies.dvc("--cd", "studies", "repro", "resolve", check=False)
    assert refused.code != 0
    assert refused.messages()[0].startswith("trainlab: params.yaml: suites.alpha.subsett is not a parameter")


@pytest.fixture(scope="module")
def runs() -> dict[str, RunConfig]:
    """Return the configurations of the project's own studies."""
    return config.resolve(config.load_params(PROJECT / "studies/params.yaml"), where="studies/params.yaml", data=False)


def test_the_projects_studies_are_valid_and_measured(runs: dict[str, RunConfig]) -> None:
    stages = yaml.safe_load((PROJECT / "studies/dvc.yaml").read_text())["stages"]
    suites = {run.suite for run in runs.values()}
    assert set(stages["measure"]["foreach"]) <= suites
    assert stages["measure"]["foreach"] == stages["draw_measure"]["foreach"]
    assert runs["then_5e_2"].suite == "rate_step"  # of stage `per_sample_loss`


def test_the_studies_at_full_size_have_the_configurations_of_the_suites_and_of_the_winner(
    runs: dict[str, RunConfig],
) -> None:
    def values(run: RunConfig, *others: str) -> dict[str, object]:
        return {key: value for key, value in run.to_dict().items() if key not in ("run", "suite", *others)}

    suites = config.resolve(config.load_params(PROJECT / "params.yaml"))
    assert values(runs["in_float32"]) == values(suites["baseline"])
    assert values(runs["in_bfloat16"]) == {**values(suites["baseline"]), "precision": "bfloat16"}
    assert values(runs["tricks_weight_decay"]) == values(suites["weight_decay"])
    if "winner" in runs:
        best = config.load_params(PROJECT / "search/best.yaml")["best"]
        winner = config.from_dict({"run": "best", **best}, "search/best.yaml")
        others = ("code", "seed", "replicas", "threads")
        assert values(runs["winner"], *others) == values(winner, *others)


def test_each_network_of_the_capacity_study_is_trained_on_few_and_on_many_images(runs: dict[str, RunConfig]) -> None:
    of_study = {run: settings for run, settings in runs.items() if settings.suite == "capacity"}
    assert of_study
    for run, settings in of_study.items():
        model = settings.model
        assert isinstance(model, Convnet)
        network = f"w{model.width}_d{model.depth}_f{model.filter_size}_h{model.hidden_dim}"
        assert run in (f"{network}_few", f"{network}_many")
        assert settings.subset == (200 if run.endswith("_few") else 10000)
        assert {f"{network}_few", f"{network}_many"} <= set(of_study)
