"""Heads that answer in labels: of which kind a model's is, and what its labels are called."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ndogo.core.errors import NdogoError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Answers = Literal["text", "token"]
"""One answer for a text, or one for each of its tokens."""
ENDINGS: dict[str, Answers] = {"ForSequenceClassification": "text", "ForTokenClassification": "token"}
"""How the name of a model's class says it."""
READOUTS = ("classifier.weight", "classifier.out_proj.weight")
"""The matrix of a head that has a row for each label."""


def answers_of(config: "PreTrainedConfig") -> Answers | None:
    """What the head of a configuration's class answers; None where it does not answer in labels."""
    name = (config.architectures or [""])[0]
    return next((answers for ending, answers in ENDINGS.items() if name.endswith(ending)), None)


def labels_of(config: "PreTrainedConfig") -> tuple[str, ...]:
    """The names of the labels, in the order of the head's numbers; without names they are LABEL_0 and so on.

    :raises NdogoError: `id2label` leaves out a number, or gives one name twice.
    """
    named = {int(number): str(name) for number, name in (config.id2label or {}).items()}
    names = tuple(named[number] for number in sorted(named))
    if sorted(named) != list(range(len(named))) or len(set(names)) != len(names):
        raise NdogoError(
            f"id2label does not name the numbers from 0 on, each by a name of its own: {named}.",
            where="config.json: id2label",
            cure='Write {"0": "O", "1": "B-PER", ...}.',
        )
    return names


def with_task(config: "PreTrainedConfig", answers: Answers, labels: Sequence[str]) -> "PreTrainedConfig":
    """A copy of a configuration whose class answers in these labels; the input is left untouched.

    :raises NdogoError: transformers has no such class for the architecture.
    """
    from transformers.models.auto import modeling_auto

    ending = next(ending for ending, said in ENDINGS.items() if said == answers)
    classes = {
        "text": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        "token": modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    }[answers]
    if config.model_type not in classes:
        raise NdogoError(f"transformers has no ...{ending} for `{config.model_type}`.", where="config.json: model_type")
    made = type(config).from_dict(config.to_dict())
    made.architectures = [classes[config.model_type]]
    made.id2label = dict(enumerate(labels))
    made.label2id = {label: number for number, label in enumerate(labels)}
    made.problem_type = None
    return made


def check_same_labels(student: "PreTrainedConfig", teacher: "PreTrainedConfig", asks: str) -> None:
    """Refuse a pair whose heads do not give the same answers; `asks` is who compares them.

    :raises NdogoError: one has no head that answers in labels, or the labels are others.
    """
    for role, config in (("student", student), ("teacher", teacher)):
        if answers_of(config) is None:
            found = (config.architectures or ["bare encoder"])[0]
            raise NdogoError(
                f"{asks} needs a head that answers in labels, and the {role} is a {found}.",
                where=role,
                cure="Give a model that is fine-tuned for a task, or put the step `finetune` before.",
            )
    ours, theirs = ((answers_of(config), labels_of(config)) for config in (student, teacher))
    if ours != theirs:
        raise NdogoError(
            f"{asks} needs one set of labels: the student has an answer for each {ours[0]}, of {_some(ours[1])}, "
            f"the teacher for each {theirs[0]}, of {_some(theirs[1])}.",
            where="config.json: id2label",
            cure="Make the student from this teacher.",
        )


def head_that_differs(folder: Path, config: "PreTrainedConfig") -> NdogoError | None:
    """What is wrong where the weights of a head hold another number of labels than the configuration names; None: nothing."""
    from safetensors import safe_open

    if answers_of(config) is None:
        return None
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            for name in {*opened.keys()} & {*READOUTS}:
                rows = opened.get_slice(name).get_shape()[0]
                if rows != config.num_labels:
                    return NdogoError(
                        f"The head has {rows} labels, and id2label names {config.num_labels}"
                        f"{' (as it does where it is missing)' if config.num_labels == 2 else ''}.",
                        where=f"{folder / 'config.json'}: id2label",
                        cure=f'Name all {rows} in order: {{"0": "...", ..., "{rows - 1}": "..."}}.',
                    )
    return None


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:6])} and {len(names) - 6} more"
