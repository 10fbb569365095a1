"""How much of a teacher's states of words is lost in a student of any width and vocabulary: for encoders without a head.

States are averaged over the tokens of each word first, so a finer split counts no more than a coarse one. The student's are
mapped into the teacher's space by least squares on some lines and compared on others. Shapes: N words, H width.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ndogo.core.progress import Report, silent
from ndogo.evaluation.encoder import batches, load_encoder, padded, position_limit
from ndogo.evaluation.judge import fixed

LINES_PER_BATCH = 32
RIDGE = 1e-4
"""Of the mean square of the student's states: keeps the map from following noise."""


class WordStates:
    """A teacher's states of the words of some lines, for students to be compared with."""

    def __init__(self, teacher: Path, fitted: Sequence[str], held_out: Sequence[str], threads: int) -> None:
        """`fitted`: lines on which a student's map is fitted; `held_out`: others, on which it is judged.

        :raises NdogoError: not a model directory, or no fast tokenizer.
        """
        self._lines, self._threads = (list(fitted), list(held_out)), threads
        self._wished = self._of(teacher, silent)

    def lost(self, student: Path, report: Report = silent) -> float:
        """The squared error of the student's mapped states over the variance of the teacher's: 0 for the teacher itself, 1 for
        one that says the same of every word.

        :raises NdogoError: not a model directory, or no fast tokenizer.
        """
        (fitted_NS, judged_NS), (fitted_NH, judged_NH) = self._of(student, report), self._wished
        mean_S, mean_H = fitted_NS.mean(0), fitted_NH.mean(0)
        centred_NS = fitted_NS - mean_S
        square_SS = centred_NS.T @ centred_NS
        square_SS[np.diag_indices_from(square_SS)] += RIDGE * np.trace(square_SS) / len(square_SS)
        map_SH = np.linalg.solve(square_SS, centred_NS.T @ (fitted_NH - mean_H))
        error_NH = judged_NH - mean_H - (judged_NS - mean_S) @ map_SH
        return float((error_NH**2).sum() / ((judged_NH - judged_NH.mean(0)) ** 2).sum())

    def _of(self, model: Path, report: Report) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        with fixed(self._threads):
            fitted, judged = (word_states(model, lines, report) for lines in self._lines)
        return fitted, judged


@torch.inference_mode()
def word_states(model_dir: Path, lines: Sequence[str], report: Report = silent) -> NDArray[np.float64]:
    """(N, H) the mean of the last states of each word's tokens; words are what lies between spaces, in the lines' order. A word
    without a token, or behind the longest input, has zeros.
    """
    encoder = load_encoder(model_dir)
    limit = position_limit(encoder.model, encoder.tokenizer)
    tokens = encoder.tokenizer(
        list(lines), truncation=True, max_length=limit, return_offsets_mapping=True, return_special_tokens_mask=True
    )
    counts = [len(line.split(" ")) for line in lines]
    first = np.cumsum([0, *counts])
    sums = np.zeros((first[-1], int(encoder.model.config.hidden_size)))
    tokens_N = np.zeros(first[-1])
    ids = tokens["input_ids"]
    done = 0
    for chosen in batches([len(row) for row in ids], LINES_PER_BATCH, "sorted"):
        inputs = padded([ids[i] for i in chosen], encoder.tokenizer.pad_token_id)
        states_BLH = encoder.model(**inputs).last_hidden_state.double().numpy()
        for states_LH, line in zip(states_BLH, chosen, strict=True):
            special = tokens["special_tokens_mask"][line]
            for place, (_, end) in enumerate(tokens["offset_mapping"][line]):
                if not special[place]:
                    word = first[line] + lines[line][: max(end - 1, 0)].count(" ")
                    sums[word] += states_LH[place]
                    tokens_N[word] += 1
        done += len(chosen)
        report("states of words", done, len(lines))
    return sums / np.maximum(tokens_N, 1)[:, None]
