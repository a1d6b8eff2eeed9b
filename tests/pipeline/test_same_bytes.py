"""The same configuration gives the same bytes in another process."""

from pipeline.scratch import Scratch


def test_another_process_gives_the_same_bytes(repo: Scratch) -> None:
    before = repo.models()["dropout_both"], repo.digests("plots/history")
    repo.path("models/dropout_both.safetensors").unlink()
    # A new interpreter, and not a copy (see tests/forked.py) that DVC started, under another path, as before.
    stage = repo.start("python", "stages/train.py", "dropout_both")
    _, errors = stage.communicate(timeout=240)
    assert stage.returncode == 0, errors
    assert (repo.models()["dropout_both"], repo.digests("plots/history")) == before
