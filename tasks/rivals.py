"""What small sentence vectors must beat, and no step makes: static vectors, and the trimmed teacher as an int8 file."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ndogo.core.download import download_mb, tokenizer_bytes
from ndogo.core.errors import NdogoError
from ndogo.evaluation import Entry, Evaluation, Role, evaluate
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.bundles import Bundle, canonical
from ndogo.registry.corpora import corpus
from ndogo.registry.hub import Hub
from ndogo.steps.recipe import ORIGINAL
from ndogo.tasks import shipping
from ndogo.tasks.evaluation import EVALUATIONS, evaluation_key, texts_of_vectors
from ndogo.tasks.run import Run

if TYPE_CHECKING:
    from ndogo.evaluation.encoder import Encoder

VERSION = 2
"""Bumped by hand when a rival is made in another way."""


def rivals(run: Run, bundle: Bundle) -> list[Entry]:
    """The rivals of a run's model, each judged once as its models are; none for a recipe of another kind.

    Static vectors are taught where baselines are asked for, and stand there where the store has them.
    """
    if not run.shapes_vectors or run.settings.mode != "probe":
        return []
    found = [entry for taught in (False, True) if (entry := _static(run, bundle, taught=taught))]
    trims = [s.id for s in run.recipe.order() if s.result == "trimmed" and s.student == ORIGINAL]
    if trims and (entry := _int8(run, Bundle(trims[0], run.bundle_keys()[trims[0]]))):
        found.append(entry)
    return found


def _static(run: Run, bundle: Bundle, *, taught: bool) -> Entry | None:
    """At as many parameters as the model has, so that both are as large to download; None for taught ones that nobody made."""
    original, params = run.store.path(run.original), run.store.details(bundle.key).numbers.params
    text = corpus(run.language, run.profile, Hub(run.sources.corpus))

    def make() -> "Encoder":
        from ndogo.evaluation.static import static_encoder, taught_static

        return (taught_static if taught else static_encoder)(original, text.lines(), params)

    role: Role = "static-taught" if taught else "static"
    judged = _judged(
        run, Bundle(ORIGINAL, run.original), [role, params], None if taught and not run.baselines else make
    )
    if judged is None:
        return None
    size = download_mb(judged.parameters, tokenizer_bytes(original))
    return Entry(role, role, judged, parameters=judged.parameters, size_mb=size)


def _int8(run: Run, trimmed: Bundle) -> Entry | None:
    """None where no int8 file of the trimmed teacher passes its own check."""
    folder, details = run.store.path(trimmed), run.store.details(trimmed.key)
    with tempfile.TemporaryDirectory() as work:

        def make() -> "Encoder":
            from ndogo.evaluation.exported import load_exported

            made = shipping.trimmed_file(run, folder, Path(work) / "out")
            if made is None:
                raise NdogoError("The trimmed teacher has no int8 file.")
            return load_exported(made)

        try:
            judged = _judged(run, trimmed, ["int8"], make)
        except NdogoError:
            return None
    assert judged is not None
    params = details.numbers.params
    size = download_mb(params, tokenizer_bytes(folder), "int8")
    return Entry("trimmed-int8", "trimmed-int8", judged, parameters=params, size_mb=size)


def _judged(run: Run, of: Bundle, how: list[object], make: "Callable[[], Encoder] | None") -> Evaluation | None:
    """The evaluation of a rival, found or made; None where it is not there and is not to be made."""
    rows = benchmarks(run.language, run.profile, Hub(run.sources.benchmarks))
    texts = texts_of_vectors(run, rows)
    asked = canonical([VERSION, how, run.corpus, evaluation_key(run, of, rows, texts)])

    key = hashlib.sha256(asked.encode()).hexdigest()[:20]
    if make is None:
        return run.store.read_record(EVALUATIONS, key, Evaluation)

    def measure() -> Evaluation:
        from ndogo.evaluation.vectors import Embedder, judge_vectors

        encoder = make()
        judged = evaluate(encoder, rows, run.settings)
        vectors = judge_vectors(Embedder(encoder), run.store.path(run.original), texts)
        return judged.model_copy(update={"vectors": vectors})

    return run.store.record(EVALUATIONS, key, Evaluation, measure)[0]
