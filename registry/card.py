"""The model card: what a model is, made from its lineage, in the form that the hub reads. The same facts give the same card."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml

from ndogo.core.download import SIZE_TYPE
from ndogo.core.markdown import table

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

Relation = Literal["finetune", "quantized"]
TASKS = {"classes": "text-classification", "entities": "token-classification", "tags": "token-classification"}
METRICS = {"macro_f1": "f1", "entity_f1": "f1", "accuracy": "accuracy"}
"""Ours -> the hub's names of metrics."""
PIPELINES = {
    "ForMaskedLM": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
}
"""Ends of the class's name -> what the hub offers to do with it; a bare encoder gives features."""
NOT_MEASURED = (
    "fairness between groups of speakers, dialects and registers",
    "harmful or private content that the teacher or the text may hold",
    "tasks and languages beside those in the table",
)
CUT = "\n\n(Cut here; `ndogo push --dry-run` writes the whole card.)\n"
TOY = "**A toy.** Its text is generated, of a pocket world, and its training is capped. It says nothing about real language."


@dataclass(frozen=True)
class StepFacts:
    """One row of the lineage."""

    name: str
    kind: str
    params: int
    size_mb: float
    scores: Mapping[str, float] = field(default_factory=dict)
    """Means by benchmark, in [0, 1]; empty where the step was not judged."""
    ratio_trimmed: float | None = None
    """Parameters of the teacher trimmed to the step's rows over the step's."""


@dataclass(frozen=True)
class ScoreFacts:
    """One benchmark: the model's score, and what it retains of the teacher's."""

    name: str
    kind: str
    metric: str
    mean: float
    std: float | None
    seeds: int
    teacher: float
    retention: tuple[float, float, float]
    """With the ends of its 95 % interval."""
    rows: int
    source: str = ""
    """The hub's repository, where it came from there."""
    configuration: str = ""
    commit: str = ""


@dataclass(frozen=True)
class Facts:
    """All that a card says."""

    name: str
    language: str
    code: str
    architecture: str
    recipe: str
    """Its exact text."""
    steps: Sequence[StepFacts]
    scores: Sequence[ScoreFacts]
    retention: tuple[float, float, float] | None
    """None where the means of model and teacher are not comparable."""
    mode: str = ""
    """How the scores were made: probed or fine-tuned."""
    sentences: Sequence[str] = ()
    problems: Mapping[str, str] = field(default_factory=dict)
    """Benchmarks that could not be judged, and why."""
    teacher: str = ""
    """The hub's repository of the teacher; empty where it was a folder of somebody's."""
    teacher_commit: str = ""
    corpus: str = ""
    corpus_commit: str = ""
    corpus_license: str = ""
    fingerprint: str = ""
    license: str = ""
    relation: Relation = "finetune"
    certificate: str = ""
    """The certificate of the trimmed vocabulary, in Markdown."""
    sentence_model: bool = False
    toy: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)


def card(facts: Facts) -> str:
    """The whole README.md."""
    head = yaml.safe_dump(metadata(facts).to_dict(), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n{body(facts)}"


def description(facts: Facts, most: int = 5000) -> str:
    """The card without its head for a place that keeps so many characters: the certificate goes first, then the end."""
    text = body(facts)
    if len(text) > most:
        text = body(replace(facts, certificate=""))
    return text if len(text) <= most else f"{text[: most - len(CUT)]}{CUT}"


def metadata(facts: Facts) -> "ModelCardData":
    """The head of the card, as the hub reads it."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=TASKS[score.kind],
            task_name=score.name,
            dataset_type=score.source or f"ndogo-{facts.language}-{score.name}",
            dataset_name=f"{score.name} ({facts.language})",
            dataset_config=score.configuration or None,
            dataset_split="test",
            dataset_revision=score.commit or None,
            metric_type=METRICS[score.metric],
            metric_name=score.metric,
            metric_value=score.mean,
        )
        for score in facts.scores
    ]
    return ModelCardData(
        language=facts.code if re.fullmatch("[a-z]{2,3}", facts.code) else None,
        license=facts.license or None,
        base_model=facts.teacher or None,
        base_model_relation=facts.relation if facts.teacher else None,
        library_name=library(facts),
        pipeline_tag=pipeline_tag(facts),
        datasets=[facts.corpus] if facts.corpus else None,
        tags=["ndogo", "vocabulary-trimming", "model-compression"],
        model_name=facts.name.rpartition("/")[2],
        eval_results=results or None,
    )


def library(facts: Facts) -> str:
    """What loads the files."""
    if facts.relation == "quantized":
        return "onnx"
    return "sentence-transformers" if facts.sentence_model else "transformers"


def pipeline_tag(facts: Facts) -> str:
    """What the hub offers to do with the model."""
    if facts.sentence_model:
        return "sentence-similarity"
    return next((tag for end, tag in PIPELINES.items() if facts.architecture.endswith(end)), "feature-extraction")


def body(facts: Facts) -> str:
    """The card below its head."""
    first, last = facts.steps[0], facts.steps[-1]
    smaller = f"{first.params / last.params:.1f} times fewer parameters than its teacher ({last.params:,} of {first.params:,})"
    if last.ratio_trimmed is not None:
        smaller += f", and {last.ratio_trimmed:.1f} times fewer than the teacher trimmed to the same tokens"
    parts = [
        f"# {facts.name.rpartition('/')[2]}",
        f"A small encoder for {facts.language}, made by Ndogo from {_teacher(facts)}. "
        f"It has {smaller}. {_retained(facts)}",
        *([TOY] if facts.toy else []),
        "## Use",
        _use(facts),
        "## How it was made",
        table(
            ["step", "kind", "parameters", f"MB ({SIZE_TYPE})", *_judged(facts)],
            [_step(facts, step) for step in facts.steps],
        ),
        f"Scores in the table are means over seeds, in points, {facts.mode}. MB: weights as {SIZE_TYPE} and tokenizer. "
        "The recipe, whole:",
        f"```yaml\n{facts.recipe.strip()}\n```",
        "## Scores",
        table(["benchmark", "metric", "this model", "teacher", "retention (95% interval)", "data"], _scores(facts)),
        *[f"- Not judged: {name}: {why.splitlines()[0]}" for name, why in facts.problems.items()],
        *facts.sentences,
        *(["## Vocabulary", _demoted(facts.certificate)] if facts.certificate else []),
        "## Text and licences",
        _licences(facts),
        "## Limits",
        "The model knows the one language that it was made for; text in another is split into many more tokens, or unknown "
        "ones. It has the teacher's biases and those of the text. Retention is measured by a small classifier on frozen "
        "features or by fine-tuning, as the settings of the scores say; other uses may keep more or less. "
        f"Not measured: {'; '.join(NOT_MEASURED)}.",
        *([f"Made with {', '.join(f'{n} {v}' for n, v in sorted(facts.versions.items()))}."] if facts.versions else []),
    ]
    return "\n\n".join(parts) + "\n"


def _retained(facts: Facts) -> str:
    if facts.retention is None:
        return "A benchmark was not judged for both, so that their mean scores are not comparable."
    kept, low, high = facts.retention
    names = ", ".join(_judged(facts))
    return f"It keeps {kept:.1%} of the teacher's scores (95% interval {low:.1%} to {high:.1%}; {names}; {facts.mode})."


def _teacher(facts: Facts) -> str:
    if not facts.teacher:
        return "a teacher that is not on the hub"
    at = f" (commit `{facts.teacher_commit[:12]}`)" if facts.teacher_commit else ""
    return f"[{facts.teacher}](https://huggingface.co/{facts.teacher}){at}"


def _use(facts: Facts) -> str:
    if facts.relation == "quantized":
        verb = "embed {0} 'some text'" if facts.sentence_model else "fill {0} 'text with a <mask>'"
        return f"```\nhf download {facts.name} --local-dir model && ndogo {verb.format('model')}\n```"
    if facts.sentence_model:
        code = f'from sentence_transformers import SentenceTransformer\n\nmodel = SentenceTransformer("{facts.name}")'
    else:
        code = f'from transformers import pipeline\n\nmodel = pipeline("{pipeline_tag(facts)}", "{facts.name}")'
    return f"```python\n{code}\n```"


def _judged(facts: Facts) -> list[str]:
    return [score.name for score in facts.scores]


def _step(facts: Facts, step: StepFacts) -> list[str]:
    shown = [f"{100 * step.scores[name]:.1f}" if name in step.scores else "" for name in _judged(facts)]
    return [step.name, step.kind, f"{step.params:,}", f"{step.size_mb:.1f}", *shown]


def _scores(facts: Facts) -> list[list[str]]:
    found = []
    for score in facts.scores:
        spread = f" ± {100 * score.std:.1f} ({score.seeds} seeds)" if score.std is not None else ""
        kept, low, high = score.retention
        data = f"{score.source} {score.configuration}".strip() or "not on the hub"
        found.append(
            [
                score.name,
                score.metric,
                f"{100 * score.mean:.1f}{spread}",
                f"{100 * score.teacher:.1f}",
                f"{kept:.1%} ({low:.1%} to {high:.1%})",
                f"{data}, {score.rows:,} test rows",
            ]
        )
    return found


def _licences(facts: Facts) -> str:
    corpus = facts.corpus or "a corpus that is not on the hub"
    at = f", commit `{facts.corpus_commit[:12]}`" if facts.corpus_commit else ""
    said = f"licence by its card: {facts.corpus_license}" if facts.corpus_license else "licence not known here"
    own = facts.license or "**not stated**; ask whoever published it"
    return (
        f"Vocabulary and training: {corpus}{at} ({said}), fingerprint `{facts.fingerprint}`. "
        f"Licence of this model: {own}. A licence of text may bind more narrowly than the model's: read both."
    )


def _demoted(text: str) -> str:
    """A page of its own as a part of this one: its title goes, its headings step down."""
    lines = [line for line in text.strip().splitlines() if not line.startswith("# ")]
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in lines).strip()


def read_certificate(folder: Path) -> str:
    """The certificate that a trim left in a model directory, if any."""
    file = folder / "certificate.md"
    return file.read_text(encoding="utf-8") if file.is_file() else ""
