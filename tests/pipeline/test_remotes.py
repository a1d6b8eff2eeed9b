"""Results go to a colleague through SSH and S3: nothing is computed again, and no credential is committed.

test_sharing.py has the remote that is a directory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.scratch import Scratch
from pipeline.servers import BUCKET, SSHD, s3_server, ssh_server


@dataclass
class Remote:
    """A DVC remote.

    Parameters
    ----------
    url
        Its address.
    settings
        What everybody may know.
    secrets
        What each user sets with ``--local``.
    """

    url: str
    settings: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[Remote]:
    if not SSHD:
        pytest.skip("there is no sshd: install openssh-server")
    (tmp_path / "ssh").mkdir()
    with ssh_server(tmp_path / "ssh") as (url, key):
        yield Remote(url, secrets={"keyfile": str(key)})


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[Remote]:
    with s3_server(tmp_path) as address:
        secrets = {"access_key_id": "key-of-somebody", "secret_access_key": "secret-of-somebody"}
        yield Remote(f"s3://{BUCKET}/trainlab", {"endpointurl": address}, secrets)


@pytest.fixture(params=["ssh", "s3"])
def remote(request: pytest.FixtureRequest) -> Remote:
    found: Remote = request.getfixturevalue(request.param)
    return found


def add(repo: Scratch, remote: Remote) -> None:
    """Add the remote as docs/sharing.md shows."""
    repo.dvc("remote", "add", "--force", "--default", "storage", remote.url)
    for name, value in remote.settings.items():
        repo.dvc("remote", "modify", "storage", name, value)
    log_in(repo, remote)


def log_in(repo: Scratch, remote: Remote) -> None:
    for name, value in remote.secrets.items():
        repo.dvc("remote", "modify", "--local", "storage", name, value)


def test_a_colleague_gets_every_result_and_computes_nothing(
    remote: Remote, changed_repo: Scratch, tmp_path: Path
) -> None:
    ours = changed_repo
    add(ours, remote)
    for revision in ("HEAD~1", "HEAD"):  # after each result, as one would
        ours.git("checkout", "--quiet", revision, "--", ".", ":!.dvc/config")
        ours.dvc("checkout")
        ours.dvc("push")
    ours.commit("a remote")

    theirs = ours.clone(tmp_path / "theirs")
    committed = theirs.path(".dvc/config").read_text() + theirs.git("log", "-p", "-1").stdout
    assert remote.url in committed
    assert [secret for secret in remote.secrets.values() if secret in committed] == []
    log_in(theirs, remote)
    theirs.dvc("pull")
    assert theirs.dvc("repro").ran_stages() == set()
    assert theirs.models() == ours.models()
    assert theirs.changed_files() == []

    # An earlier revision, whose models they never had.
    theirs.git("checkout", "--quiet", "HEAD~2", "--", ".", ":!.dvc/config")
    theirs.dvc("pull")
    assert theirs.dvc("repro").ran_stages() == set()
    assert theirs.models() != ours.models()


def test_a_remote_that_does_not_answer_is_named(repo: Scratch, s3: Remote) -> None:
    add(repo, Remote(f"s3://no-such-bucket/{BUCKET}", s3.settings, s3.secrets))
    failed = repo.dvc("push", check=False)
    assert failed.code != 0
    assert "no-such-bucket" in failed.stderr or "bucket" in failed.stderr.lower()
