"""The rivals that need no layers: one vector per token, averaged, each weighted by how rare it is.

Untrained, a token's vector is what the teacher says of it alone, less the mean of all; the weight is a / (a + share of the
text). Tokens that the text uses seldom have none. Taught, the same vectors go on to learn the teacher's vectors of whole lines.
Shapes: B texts, L positions, H hidden width.
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

from ndogo.core.batches import pad
from ndogo.core.progress import Report, silent
from ndogo.core.sentences import Vectors
from ndogo.core.specials import ends
from ndogo.core.vectors import pool
from ndogo.evaluation.encoder import Encoder, load_encoder
from ndogo.evaluation.vectors import Embedder

COUNTED = 20_000
"""Lines on which tokens are counted."""
RARITY = 1e-4
AT_ONCE = 512
TAUGHT = 20_000
"""Lines whose vectors the teacher gives; one in twenty of them only says when to stop."""
RATE = 1e-3
BATCH = 256
EPOCHS = 50
"""At most; the best so far is kept, and three epochs without a better one end it."""
PATIENCE = 3


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
    return _static(load_encoder(teacher), lines, parameters)


def _static(encoder: Encoder, lines: Iterable[str], parameters: int) -> Encoder:
    counts = _counted(encoder.tokenizer, lines)
    width = _alone(encoder, torch.tensor([encoder.tokenizer.pad_token_id])).shape[1]
    frequent = [token for token, _ in counts.most_common(max(1, parameters // width - 1))]
    ids = torch.tensor(frequent)
    states = torch.cat([_alone(encoder, part) for part in ids.split(AT_ONCE)])
    shares = torch.tensor([counts[token] for token in frequent]) / counts.total()
    table = (states - states.mean(0)) * (RARITY / (RARITY + shares))[:, None]
    rows = torch.zeros(max(len(encoder.tokenizer), int(ids.max()) + 1), dtype=torch.long)
    rows[ids] = torch.arange(1, len(ids) + 1)
    model = Static(torch.cat([torch.zeros(1, width), table]), rows)
    vectors = Vectors(prompts=encoder.vectors.prompts)
    return replace(encoder, name="static", model=cast(PreTrainedModel, model), vectors=vectors, dense=nn.Sequential())


def taught_static(teacher: Path, lines: Iterable[str], parameters: int, report: Report = silent) -> Encoder:
    """The static vectors after they learned the teacher's vectors of whole lines: 1 - cosine, less the teacher's mean vector."""
    texts = list(islice(lines, TAUGHT))
    guide = load_encoder(teacher)
    encoder = _static(guide, texts, parameters)  # before the teacher goes to another device
    wanted = torch.from_numpy(Embedder(guide)(texts, report))
    wanted -= wanted.mean(0)
    static, ids = cast(Static, encoder.model), Embedder(encoder).tokens(texts)
    apart = max(1, len(texts) // 20)
    drawn = torch.Generator().manual_seed(0)
    order = torch.randperm(len(texts), generator=drawn)
    held, train = order[:apart], order[apart:]

    def missed(rows: torch.Tensor) -> torch.Tensor:
        read, real = (torch.from_numpy(made) for made in pad([ids[row] for row in rows], 0))
        made = pool(static(read).last_hidden_state, real, "mean")
        return (1 - torch.cosine_similarity(made, wanted[rows], dim=-1)).mean()

    static.table.weight.requires_grad_(True)
    optimiser = torch.optim.Adam([static.table.weight], lr=RATE)
    best, table, waited = float("inf"), static.table.weight.detach().clone(), 0
    for epoch in range(EPOCHS):
        for rows in train[torch.randperm(len(train), generator=drawn)].split(BATCH):
            optimiser.zero_grad()
            missed(rows).backward()
            optimiser.step()
        with torch.inference_mode():
            found = float(missed(held))
        report("teaching static vectors", epoch + 1, EPOCHS)
        if found < best:
            best, table, waited = found, static.table.weight.detach().clone(), 0
        elif (waited := waited + 1) == PATIENCE:
            break
    taught = Static(table, static.row_of_id)
    return replace(encoder, name="static-taught", model=cast(PreTrainedModel, taught))


def _counted(tokenizer: PreTrainedTokenizerBase, lines: Iterable[str]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for ids in tokenizer(list(islice(lines, COUNTED)), add_special_tokens=False)["input_ids"]:
        counts.update(ids)
    return counts


@torch.inference_mode()
def _alone(encoder: Encoder, ids_N: torch.Tensor) -> torch.Tensor:
    """(N, H): the teacher's vector of each token between its specials."""
    before, behind = (torch.tensor(part, dtype=torch.long) for part in ends(encoder.tokenizer))
    ids = torch.cat([before.expand(len(ids_N), -1), ids_N[:, None], behind.expand(len(ids_N), -1)], dim=1)
    states = encoder.model(input_ids=ids).last_hidden_state.float()
    return encoder.text_vectors(states, torch.ones_like(ids, dtype=torch.bool))
