"""Numbers that are valid and absurd: each is trained with, or refused on one line; none ends in a traceback or for ever."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.absurd import Attack, answers, attacks


def ends() -> list[Attack]:
    """Return one attack per kind of trouble, for a quick test."""
    chosen = {
        ("run.model.three_layer.filter_size", 1023),
        ("run.threads", 1024),
        ("run.epochs", 10**30),
        ("run.batch_size", 2**63),
        ("run.model.convnet.depth", 10**30),
    }
    return [attack for attack in attacks() if (attack.field, attack.value) in chosen]


@pytest.mark.parametrize("chosen", [ends, pytest.param(attacks, marks=pytest.mark.faults)])
@pytest.mark.slow
def test_absurd_numbers_are_answered(
    chosen: Callable[[], list[Attack]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINLAB_WORKERS", "1")
    tried = chosen()
    found = answers(tried, tmp_path)
    print(len(tried), "attacks on", len({attack.field for attack in tried}), "fields:", dict(Counter(found)))
    wrong = [
        f"{attack.field} = {attack.value:.3g}: {said}"
        for attack, said in zip(tried, found, strict=True)
        if said not in ("accepted", "refused")
    ]
    assert wrong == []
