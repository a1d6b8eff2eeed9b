"""A user's mistake stops the pipeline before anything is trained or overwritten, with one line per mistake."""

from pipeline.scratch import Scratch


def test_each_mistake_in_params_has_its_line_and_nothing_is_trained(data_repo: Scratch) -> None:
    before = data_repo.digests("configs")
    with data_repo.params() as params:
        params["sede"] = 1
        params["suites"]["tricks"]["batch_size"] = "many"
        params["runs"]["baseline"]["ephocs"] = 3
        params["runs"]["norm_inputs"]["model"] = {"name": "tf_cn"}
        params["runs"]["dropout_both"]["model"]["dropout_conv"] = 1.5  # the last run's: others could be trained before
    check = data_repo.stage("resolve", "--check", check=False)
    assert (check.code, check.stdout) == (1, "")
    expected = [
        # where, its value, what is allowed
        ("sede", "did you mean seed?"),
        ("suites.tricks.batch_size", "'many'", "integer"),
        ("runs.baseline.ephocs", "did you mean epochs?"),
        ("runs.norm_inputs.model.name", "'tf_cn'", "tf_cnn"),
        ("runs.dropout_both.model.dropout_conv", "1.5", "less than 1"),
    ]
    for words in expected:
        matching = [line for line in check.messages() if all(word in line for word in (f" {words[0]} ", *words[1:]))]
        assert len(matching) == 1, f"{words}: {matching} among\n{check.stderr}"
    assert len(check.messages()) == len(expected)

    repro = data_repo.dvc("repro", check=False)
    assert repro.code != 0
    assert repro.ran_stages() == {"resolve"}
    assert repro.messages() == check.messages()
    assert data_repo.models() == {}
    # DVC has deleted the configurations before it ran the stage; the stage itself deletes nothing.
    data_repo.dvc("checkout", "resolve")
    assert data_repo.digests("configs") == before
