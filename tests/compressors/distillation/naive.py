"""What the naive versions of the objectives share: one sequence at a time without padding, eager attention, full logits, loops.

Shares no code with the package: Q, K and V are recomputed from hidden states, attention comes from transformers itself.
"""

import copy
import math

import torch


class Plain:
    """What one model says of one unpadded sequence."""

    def __init__(self, model, sequence):
        model.set_attn_implementation("eager")
        model.eval()
        out = model(input_ids=sequence.ids[None], output_hidden_states=True, output_attentions=True)
        self.labels = sequence.labels
        self.logits = out.logits[0]
        self.states = [state[0] for state in out.hidden_states]
        self.attentions = [found[0] for found in out.attentions]
        self.layers, self.heads = len(self.attentions), self.attentions[0].shape[0]
        self.model = model
        base = model.base_model
        self.last = self.states[-1]
        if model.config.model_type in ("modernbert", "eurobert"):
            self.last = base(input_ids=sequence.ids[None]).last_hidden_state[0]

    def qkv(self, layer):
        base, kind = self.model.base_model, self.model.config.model_type
        x = self.states[layer - 1]
        if kind == "modernbert":
            block = base.layers[layer - 1]
            return block.attn.Wqkv(block.attn_norm(x)).chunk(3, -1)
        if kind == "eurobert":
            block = base.layers[layer - 1]
            x, a = block.input_layernorm(x), block.self_attn
            return a.q_proj(x), a.k_proj(x), a.v_proj(x)
        if kind == "distilbert":
            a = base.transformer.layer[layer - 1].attention
            return a.q_lin(x), a.k_lin(x), a.v_lin(x)
        a = base.encoder.layer[layer - 1].attention.self
        return a.query(x), a.key(x), a.value(x)

    def scores(self, layer):
        q, k, _ = self.qkv(layer)
        d = q.shape[-1] // self.heads
        rows = []
        for h in range(self.heads):
            qh, kh = q[:, h * d : (h + 1) * d], k[:, h * d : (h + 1) * d]
            rows.append(torch.stack([torch.stack([(a * b).sum() / math.sqrt(d) for b in kh]) for a in qh]))
        return torch.stack(rows)


def asked(sequence, positions="masked"):
    """The positions whose predictions count."""
    return [n for n, label in enumerate(sequence.labels) if positions == "all" or label != -100]


def softmax(x):
    e = torch.exp(x - x.max())
    return e / e.sum()


def kl(p, q):
    return (p * (p.log() - q.log())).sum()


def mse_rows(a, b):
    return sum(((x - y) ** 2).sum() / len(y) for x, y in zip(a, b, strict=True))


def projected(x, weight):
    return x if weight is None else x @ weight.T


def double(model):
    """A copy in float64 without dropout."""
    made = copy.deepcopy(model).double()
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return made
