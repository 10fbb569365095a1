"""A small model behind `mlflow models serve`: it fills masks, or tags words where it carries a token-classification head.

MLflow stores this file with the model (models from code), so it stands alone.
"""

import json
from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel, PythonModelContext


class SmallModel(PythonModel):
    """`predict(["Mtoto anasoma <mask>."])` gives the best tokens of each mask."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the directory that was logged as `model`."""
        from transformers import AutoConfig, AutoTokenizer, pipeline

        folder = context.artifacts["model"]
        kind = AutoConfig.from_pretrained(folder).architectures[0]
        task = "token-classification" if kind.endswith("ForTokenClassification") else "fill-mask"
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.mask = tokenizer.mask_token
        build: Any = pipeline  # its overloads want the task as a literal
        self.pipeline = build(task, model=folder, tokenizer=tokenizer, device="cpu")

    def predict(  # type: ignore[override]  # MLflow takes the form without a context, and reads the types
        self, model_input: list[str], params: dict[str, str] | None = None
    ) -> list[str]:
        """One answer per text, as JSON; `<mask>` stands for the model's own mask whatever it is called."""
        texts = [text.replace("<mask>", self.mask) for text in model_input]
        return [json.dumps(self.pipeline(text), ensure_ascii=False, default=float) for text in texts]


mlflow.models.set_model(SmallModel())
