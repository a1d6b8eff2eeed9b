"""`trainlab compare`: the difference of two runs in the terminal, in Markdown or as JSON."""

from typing import Annotated

import typer

from trainlab.commands import runs

Name = typer.Argument(
    metavar="A",
    help="A run, a run at a Git revision (main~3:baseline), a file of predictions (….safetensors), or a revision.",
    autocompletion=runs.complete,
)
Against = typer.Argument(
    metavar="B",
    help="The same; by default the run that params.yaml names in `against`.",
    autocompletion=runs.complete,
)


def compare(
    name: Annotated[str, Name],
    against: Annotated[str | None, Against] = None,
    margin: Annotated[
        float | None,
        typer.Option(help="Difference of two accuracies that matters, a fraction; by default that of params.yaml."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show whether one run is better than another one, with an interval.

    For two revisions, such as main HEAD: every run whose predictions differ, that at the second minus that at the first.

    Uses the predictions of both runs: `dvc pull` gets those that were pushed, and the stage `evaluate` writes them. Without
    them, two runs of a suite are compared by its tables in metrics/, which are in Git.
    """
    if markdown and as_json:
        raise typer.BadParameter("choose one of them.", param_hint="--markdown, --json")
    if margin is not None and not 0 < margin < 1:
        raise typer.BadParameter(
            f"{margin} is not between 0 and 1, such as 0.01 for one percentage point.", param_hint="--margin"
        )

    from trainlab.commands import answer, committed, revisions, sources

    answered: answer.Answer | revisions.Changes
    if against is not None and sources.are_revisions(name, against):
        answered = revisions.compare(name, against, margin)
    elif by_tables := committed.compare(name, against, margin):
        answered = by_tables
    else:
        a = sources.find(name)
        b = sources.find(against) if against is not None else sources.compared_with(a)
        answered = committed.with_suite(answer.compare(a, b, sources.margin(a) if margin is None else margin))
    if as_json:
        print(answered.as_json())
    elif markdown:
        print(answered.as_markdown())
    else:
        answered.show()
