"""The same configuration gives the same bytes in another process."""

from pipeline.scratch import Scratch


def test_another_process_gives_the_same_bytes(repo: Scratch) -> None:
    before = repo.models()["dropout_both"], repo.digests("plots/history")
    repo.path("models/dropout_both.safetensors").unlink()
    repo.stage("train", "dropout_both")  # started by DVC before, under another path
    assert (repo.models()["dropout_both"], repo.digests("plots/history")) == before
