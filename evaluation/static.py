"""The rival that needs no training and no layers: one vector per token, averaged, each weighted by how rare it is.

A token's vector is what the teacher says of it alone, less the mean of all; the weight is a / (a + share of the text).
Tokens that the text uses seldom have none. Shapes: B texts, L positions, H hidden width.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ndogo.core.specials import ends
from ndogo.core.vectors import pool
from ndogo.evaluation.encoder import Encoder, load_encoder

COUNTED = 20_000
"""Lines on which tokens are counted."""
RARITY = 1e-4
AT_ONCE = 512


class Static(nn.Module):
    """Answers as an encoder does: the states of a text are its tokens' own vectors, whatever stands beside them."""

    def __init__(self, table_VH: torch.Tensor, row_of_id: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(table_VH)
        self.row_of_id = row_of_id
        self.config = SimpleNamespace(hidden_size=table_VH.shape[1], max_position_embeddings=10**6)

    @property
    def base_model(self) -> "Static":
        """Itself: it has no head."""
        return self

    def forward(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        """Ids (B, L) to states (B, L, H); 0 for a token without a vector."""
        return SimpleNamespace(last_hidden_state=self.table(self.row_of_id[input_ids]))


def static_encoder(teacher: Path, lines: Iterable[str], parameters: int) -> Encoder:
    """The static vectors of a teacher for the tokens that occur most in some lines, as many as so many parameters hold."""
    encoder = load_encoder(teacher)
    counts = _counted(encoder.tokenizer, lines)
    width = encoder.model.config.hidden_size
    frequent = [token for token, _ in counts.most_common(max(1, parameters // width - 1))]
    ids = torch.tensor(frequent)
    states = torch.cat([_alone(encoder, part, encoder.vectors.pooling) for part in ids.split(AT_ONCE)])
    shares = torch.tensor([counts[token] for token in frequent]) / counts.total()
    table = (states - states.mean(0)) * (RARITY / (RARITY + shares))[:, None]
    rows = torch.zeros(max(len(encoder.tokenizer), int(ids.max()) + 1), dtype=torch.long)
    rows[ids] = torch.arange(1, len(ids) + 1)
    model = Static(torch.cat([torch.zeros(1, width), table]), rows)
    return replace(encoder, name="static", model=cast(PreTrainedModel, model))


def _counted(tokenizer: PreTrainedTokenizerBase, lines: Iterable[str]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for ids in tokenizer(list(islice(lines, COUNTED)), add_special_tokens=False)["input_ids"]:
        counts.update(ids)
    return counts


@torch.inference_mode()
def _alone(encoder: Encoder, ids_N: torch.Tensor, pooling: str) -> torch.Tensor:
    """(N, H): what the teacher says of each token between its specials."""
    before, behind = (torch.tensor(part, dtype=torch.long) for part in ends(encoder.tokenizer))
    ids = torch.cat([before.expand(len(ids_N), -1), ids_N[:, None], behind.expand(len(ids_N), -1)], dim=1)
    states = encoder.model(input_ids=ids).last_hidden_state.float()
    return pool(states, torch.ones_like(ids, dtype=torch.bool), pooling)
