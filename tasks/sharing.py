"""What the runs of a sweep share: the steps, the evaluations, and how they are judged."""

from collections.abc import Container, Sequence

from ndogo.tasks.run import Owner, Run


def judged_alike(runs: Sequence[Run]) -> list[Run]:
    """Runs that are compared: where one makes sentence vectors, all of its language are judged by theirs, on the same texts."""
    texts = {run.language: run.sources.benchmarks for run in runs if run.shapes_vectors}

    def beside(run: Run) -> Run:
        sources = run.sources.model_copy(update={"benchmarks": texts[run.language]})
        return run.model_copy(update={"beside_vectors": True, "sources": sources})

    return [beside(run) if run.language in texts and not run.shapes_vectors else run for run in runs]


def sharing_steps(runs: Sequence[Run], known: Container[str] = ()) -> dict[str, list[Owner]]:
    """Every step that the runs need, by its key, in an order in which they can be made, with all who need it; not the known."""
    owners: dict[str, list[Owner]] = {}
    for run in runs:
        for name, request in run.requests().items():
            if request.key not in known:
                owners.setdefault(request.key, []).append((run, name))
    return owners


def sharing_evaluations(runs: Sequence[Run], known: Container[str] = ()) -> dict[str, list[Owner]]:
    """Every evaluation that the runs ask for, with all who ask; not the known."""
    owners: dict[str, list[Owner]] = {}
    for run in runs:
        for name in run.evaluated():
            if run.asks(name) not in known:
                owners.setdefault(run.asks(name), []).append((run, name))
    return owners
