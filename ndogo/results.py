"""What one does with models that are made: compare the runs of a language, and export a model; `ndogo` offers both."""

from pathlib import Path
from typing import Any

from ndogo.api import Corpora, Made, PathLike, make
from ndogo.steps.recipe import validated
from ndogo.steps.step import kinds


def export(
    model: PathLike,
    out: PathLike,
    corpus: Corpora = (),
    *,
    dtype: str | tuple[str, ...] = "int8",
    web: bool = False,
    **more: Any,
) -> Made:
    """Write files that run without torch, each compared with the model on lines of `corpus`.

    `dtype`: one or several of fp32, fp16, int8. `web`: add a page for the browser. `more`: the other keys of a recipe's `export`.

    :raises NdogoError: a model whose head is not known, or a file that answers otherwise than the model.
    """
    step = validated(kinds()["export"], {"dtype": dtype, "web": web, **more}, "export")
    return make(step, {"student": Path(model)}, out, corpus=corpus)


def compare(language: str, *, picture: PathLike | None = None) -> list[dict[str, Any]]:
    """Every finished run of a language, smallest model first: recipe, seed, profile, and the numbers that MLflow shows too.

    `picture`: also write size against retention there, as a PNG.

    :raises NdogoError: no such language, or no finished run.
    """
    from ndogo.registry.bundles import open_store
    from ndogo.registry.languages import language as find_language
    from ndogo.tasks import notes, pictures

    find_language(language)
    records = notes.finished(open_store(), language)
    if picture is not None:
        Path(picture).write_bytes(pictures.landscape(records, language))
    return [{"recipe": r.recipe, "seed": r.seed, "profile": r.profile, **r.summary} for r in records]
