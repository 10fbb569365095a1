"""What is said of an encoder family: where its parts lie, what kind of norm it has. Nothing here knows a family.

Shapes: N positions, H hidden.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Norm:
    """A family's normalisation of the residual stream: `weight` is its gain, `bias` may be there or not."""

    module: str = "LayerNorm"
    """The class's name."""
    centred: bool = True
    """The mean is subtracted first (LayerNorm), or not (RMSNorm)."""
    epsilon: str = "eps"
    """The attribute that keeps the root away from 0."""

    def made(self, module: nn.Module) -> bool:
        """Whether `module` is such a norm."""
        return type(module).__name__ == self.module

    def plain(self, module: nn.Module, states_NH: Tensor) -> Tensor:
        """What the norm makes of states before its gain and bias."""
        shape, epsilon = states_NH.shape[-1:], getattr(module, self.epsilon)
        function = nn.functional.layer_norm if self.centred else nn.functional.rms_norm
        return function(states_NH, shape, eps=epsilon)

    def rotate(self, module: nn.Module, basis_HH: Tensor) -> None:
        """Change gain and bias in place for states in another basis, whose columns are orthonormal.

        A norm scales single channels, so of the rotated gain only the diagonal can stay. Without a mean the size of the
        states is the same in every basis; with one this is exact for bases that keep the mean, such as permutations.
        """
        weight, bias = module.get_parameter("weight"), getattr(module, "bias", None)
        weight.copy_(torch.einsum("hk,h,hk->k", basis_HH, weight.double(), basis_HH))
        if isinstance(bias, Tensor):
            bias.copy_(bias.double() @ basis_HH)


@dataclass(frozen=True)
class Architecture:
    """The parts of one encoder family."""

    words: str
    """The word embedding."""
    layers: str
    """The ModuleList of layers."""
    embeddings: str = "embeddings"
    """What gives out the states that the first layer reads."""
    embedding_parts: tuple[str, ...] = ()
    """The other modules of the embedding block that have the hidden width."""
    attention: str = ""
    """In a layer: the module whose output is attention's, before the output projection."""
    query: str = ""
    """In a layer: the query projection, or the fused one when `fused_qkv`."""
    key: str = ""
    value: str = ""
    attention_output: str = ""
    """In a layer: the projection back to the hidden width."""
    ffn_in: tuple[str, ...] = ()
    """In a layer: the matrices hidden -> FFN: one, or input and gate apart, or both in one (-> 2 x FFN) when `fused_gate`."""
    ffn_out: str = ""
    norms: tuple[str, ...] = ()
    """In a layer: every normalisation of the residual stream."""
    norm: Norm = Norm()
    final_parts: tuple[str, ...] = ()
    """Encoder-level modules after the layers that have the hidden width."""
    pooler: str | None = None
    """The encoder's pooler, where the model has one."""
    head: tuple[str, ...] = ()
    """Modules of the heads, below the whole model, that keep the hidden width: of the masked-LM head and of task heads."""
    readouts: tuple[str, ...] = ()
    """Matrices of task heads, below the whole model, that read the hidden width and answer in labels."""
    decoder: str = ""
    """The masked-LM head's projection to the vocabulary, below the whole model."""
    lm_calls: tuple[str, ...] = ()
    """Modules, below the whole model, that one after the other turn hidden states into the vocabulary's logits."""
    decoder_bias: str = ""
    """The parameter that biases the vocabulary, below the whole model."""
    fused_qkv: bool = False
    fused_gate: bool = False
    positions_after_padding: bool = False
    """Positions are counted from the padding id + 1, which makes that many rows of the table unused."""
    rotary: bool = False
    """Rotary positions: the head dimension sets their frequencies and must not change."""
    first_layer_fixed: bool = False
    """Layer 0 differs from the others (no attention norm) and must stay first."""
    names: dict[str, str] = field(default_factory=dict)
    """Configuration attribute of: layers, hidden, ffn, heads."""
    key_heads: str = ""
    """Configuration attribute of the number of key and value heads, where it is not that of the heads."""
    head_size: str = ""
    """Configuration attribute of a head's dimensions, where the configuration states them."""
    per_layer: tuple[str, ...] = ()
    """Configuration lists with one entry per layer."""
    listed: bool = True
    """It stands in the table. What is not, was found by looking: its vocabulary and its layers can be cut, nothing else."""
