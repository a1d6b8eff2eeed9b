"""Shell blocks of the pages that are marked `run` work in a project with results."""

import shlex

from pages import PAGES, blocks
from pipeline.scratch import Scratch

RUN = [block for page in PAGES for block in blocks(page) if block.info == ("sh", "run")]


def test_shell_blocks_run(changed_repo: Scratch) -> None:
    commands = [line for block in RUN for line in block.text.splitlines()]
    assert len(commands) >= 5
    for command in commands:
        changed_repo.run(*shlex.split(command, comments=True))
