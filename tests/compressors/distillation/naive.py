"""Every objective once more, the slow way: one sequence at a time without padding, eager attention, full logits, loops.

Shares no code with the package: Q, K and V are recomputed from hidden states, attention comes from transformers itself.
"""

import copy
import math

import torch
from torch.nn import functional


class Plain:
    """What one model says of one unpadded sequence."""

    def __init__(self, model, ids):
        model.set_attn_implementation("eager")
        model.eval()
        out = model(input_ids=ids[None], output_hidden_states=True, output_attentions=True)
        self.logits = out.logits[0]
        self.states = [state[0] for state in out.hidden_states]
        self.attentions = [found[0] for found in out.attentions]
        self.model = model
        base = model.base_model
        self.last = self.states[-1]
        if model.config.model_type in ("modernbert", "eurobert"):
            self.last = base(input_ids=ids[None]).last_hidden_state[0]

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

    def scores(self, layer, heads):
        q, k, _ = self.qkv(layer)
        d = q.shape[-1] // heads
        rows = []
        for h in range(heads):
            qh, kh = q[:, h * d : (h + 1) * d], k[:, h * d : (h + 1) * d]
            rows.append(torch.stack([torch.stack([(a * b).sum() / math.sqrt(d) for b in kh]) for a in qh]))
        return torch.stack(rows)


def softmax(x):
    e = torch.exp(x - x.max())
    return e / e.sum()


def kl(p, q):
    return (p * (p.log() - q.log())).sum()


def logits_loss(name, spec, s, t, labels, positions):
    total = 0.0
    for n in range(len(labels)):
        if positions == "masked" and labels[n] == -100:
            continue
        if name == "mlm":
            total = total - softmax(s[n])[labels[n]].log()
        elif name == "logits_mse":
            total = total + ((s[n] - t[n]) ** 2).sum() / len(s[n])
        elif name == "logits_ce":
            total = total - (softmax(t[n]) * softmax(s[n]).log()).sum()
        else:
            p, q = softmax(t[n] / spec.temperature), softmax(s[n] / spec.temperature)
            total = total + spec.temperature**2 * (kl(p, q) if spec.direction == "forward" else kl(q, p))
    return total


def mse_rows(a, b):
    return sum(((x - y) ** 2).sum() / len(y) for x, y in zip(a, b, strict=True))


def relations(spec, s, t, heads, layers):
    total = 0.0
    for weight, a, b in zip((spec.q, spec.k, spec.v), s.qkv(layers[0]), t.qkv(layers[1]), strict=True):
        for h in range(heads):
            da, db = a.shape[-1] // heads, b.shape[-1] // heads
            x, y = a[:, h * da : (h + 1) * da], b[:, h * db : (h + 1) * db]
            for n in range(len(x)):
                ours = softmax(torch.stack([x[n] @ x[m] / math.sqrt(da) for m in range(len(x))]))
                theirs = softmax(torch.stack([y[n] @ y[m] / math.sqrt(db) for m in range(len(y))]))
                total = total + weight * kl(theirs, ours) / heads
    return total


def attention_maps(spec, s, t, pair, weight):
    """`weight`: the learnt matrix or None."""
    ours, theirs = s.attentions[pair[0] - 1], t.attentions[pair[1] - 1]
    size = ours.shape[-1]
    if spec.projection == "head_mix":
        ours = torch.stack([sum(weight[o, i] * ours[i] for i in range(len(ours))) for o in range(len(weight))])
    if spec.heads == "mean":
        ours, theirs = ours.mean(0, keepdim=True), theirs.mean(0, keepdim=True)
    if spec.projection == "per_row":
        ours = torch.stack([m @ weight[:size, :size].T for m in ours])
    if spec.projection == "linear_flat":
        length = math.isqrt(len(weight))
        padded = torch.stack([functional.pad(m, (0, length - size, 0, length - size)).reshape(-1) for m in ours])
        ours = torch.stack([(weight @ m).reshape(length, length)[:size, :size] for m in padded])
    return ((ours - theirs) ** 2).sum() / len(theirs)


def cosine(s, t):
    return sum(1 - (a @ b) / (a.norm() * b.norm()) for a, b in zip(s, t, strict=True))


def double(model):
    """A copy in float64 without dropout."""
    made = copy.deepcopy(model).double()
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return made
