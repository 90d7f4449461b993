"""Self-attention written out for export: as few nodes as it takes, so that every runtime finds its own fusions.

torch traces ``nn.MultiheadAttention`` into six times the reshapes and transposes; they cost an int8 ViT a tenth.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class PlainAttention(nn.Module):
    """What ``nn.MultiheadAttention`` computes of ``(x, x, x)``, batch first: one projection, two products, one more.

    It does not do cross-attention, dropout, or attention weights as a result.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        width, self.heads = attention.embed_dim, attention.num_heads
        assert attention.in_proj_weight is not None  # `written_out` takes no other kind
        self.qkv = nn.Linear(width, 3 * width, bias=attention.in_proj_bias is not None)
        with torch.no_grad():
            # The scale of the scores, 1 / sqrt(head width), goes into the queries' projection.
            scale = torch.ones(3 * width, 1)
            scale[:width] = (width // self.heads) ** -0.5
            self.qkv.weight.copy_(attention.in_proj_weight * scale)
            if attention.in_proj_bias is not None:
                self.qkv.bias.copy_(attention.in_proj_bias * scale[:, 0])
        self.out_proj = attention.out_proj

    def forward(self, x: Tensor, *_: Tensor, attn_mask: Tensor | None = None, **__: Any) -> tuple[Tensor, None]:
        """float32 ``[N, L, width]`` -> the same; ``attn_mask``, ``[L, L]`` or ``[N*heads, L, L]``, is added."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        scores = q @ k.transpose(2, 3)
        if attn_mask is not None:
            scores = scores + (attn_mask.unflatten(0, (-1, self.heads)) if attn_mask.ndim == 3 else attn_mask)
        return self.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2)), None


def written_out(tower: nn.Module) -> nn.Module:
    """Replace the self-attention of every open_clip block in ``tower``, in place.

    transformers' text towers, and timm's attention with a bias for positions, write theirs out themselves when told to:
    torch cannot export what it fuses of those. Other attention stays as it is.
    """
    from open_clip.hf_model import HFTextEncoder
    from open_clip.transformer import ResidualAttentionBlock
    from timm.models.vision_transformer_relpos import RelPosAttention

    for module in tower.modules():
        if isinstance(module, HFTextEncoder):
            module.transformer.set_attn_implementation("eager")
        if isinstance(module, RelPosAttention):
            setattr(module, "fused_attn", False)  # noqa: B010 (timm says "final", for its scripting)
        if not isinstance(module, ResidualAttentionBlock) or hasattr(module, "ln_1_kv"):
            continue
        attention = module.attn
        plain = (
            isinstance(attention, nn.MultiheadAttention)
            and attention.batch_first
            and attention.in_proj_weight is not None
        )
        if plain and attention.bias_k is None and not attention.add_zero_attn:
            module.attn = PlainAttention(attention)
    return tower
