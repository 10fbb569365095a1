"""A small model behind `mlflow models serve`: it fills masks, or tags words where it carries a token-classification head.

One that was exported answers from its default file, without torch, whatever its head: what `ndogo-run ... --json` prints.
MLflow stores this file with the model (models from code), so it stands alone.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel, PythonModelContext


class SmallModel(PythonModel):
    """`predict(["Mtoto anasoma <mask>."])` gives the best tokens of each mask."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the directory that was logged as `model`."""
        folder = context.artifacts["model"]
        self.answer = _exported(folder) if (Path(folder) / "onnx" / "export.json").is_file() else _by_torch(folder)

    def predict(  # type: ignore[override]  # MLflow takes the form without a context, and reads the types
        self, model_input: list[str], params: dict[str, str] | None = None
    ) -> list[str]:
        """One answer per text, as JSON; `<mask>` stands for the model's own mask whatever it is called."""
        return [json.dumps(self.answer(text), ensure_ascii=False, default=float) for text in model_input]


def _by_torch(folder: str) -> Callable[[str], Any]:
    from transformers import AutoConfig, AutoTokenizer, pipeline

    kind = AutoConfig.from_pretrained(folder).architectures[0]
    task = "token-classification" if kind.endswith("ForTokenClassification") else "fill-mask"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    build: Any = pipeline  # its overloads want the task as a literal
    answer = build(task, model=folder, tokenizer=tokenizer, device="cpu")
    return lambda text: answer(text.replace("<mask>", tokenizer.mask_token))


def _exported(folder: str) -> Callable[[str], Any]:
    import ndogo_run

    model = ndogo_run.load(folder)
    answers: dict[str, Callable[[str], Any]] = {
        "mlm": lambda text: [[vars(token) for token in mask] for mask in model.fill(text)],
        "classes": lambda text: [vars(label) for label in model.classify(text)],
        "tags": lambda text: [vars(span) for span in model.tag(text)],
    }
    return answers.get(model.facts["head"], lambda text: model.embed(text)[0].tolist())


mlflow.models.set_model(SmallModel())
