"""Small real models and random inputs for the tests of magicgen.attention."""

from collections.abc import Callable

import torch
from diffusers import CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed

from magicgen.attention.patterns import Anchor, Dense, Diagonal, MultiDiagonal, Skip, Spec, VerticalStripe
from magicgen.attention.plan import PartPlan, SparsePlan
from magicgen.attention.tokens import TokenGrid

GRID = TokenGrid(text=16, frames=5, height=8, width=12)
LAYERS, HEADS, HEAD_DIM = 2, 4, 64
MIXED: tuple[Spec, ...] = (
    Diagonal(0.4, 128),
    MultiDiagonal(0.4, 128),
    VerticalStripe(tuple(range(0, 480, 3))),
    Anchor(0.2, 128),
)
OTHER: tuple[Spec, ...] = (Dense(), Skip(), MultiDiagonal(0.3, 256), Dense())


def tiny_transformer(seed: int = 0, layers: int = LAYERS) -> CogVideoXTransformer3DModel:
    """A stock CogVideoX transformer with random weights for ``GRID``."""
    torch.manual_seed(seed)
    return CogVideoXTransformer3DModel(
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_DIM,
        in_channels=32,
        out_channels=16,
        num_layers=layers,
        text_embed_dim=32,
        time_embed_dim=64,
        sample_width=24,
        sample_height=16,
        sample_frames=17,
        max_text_seq_length=GRID.text,
        use_rotary_positional_embeddings=True,
    ).eval()


def forward_of(
    model: torch.nn.Module, batch: int = 1, grid: TokenGrid = GRID, samples: slice = slice(None)
) -> Callable[[float], torch.Tensor]:
    """A function timestep -> prediction on fixed random latents and text (``samples`` of a batch), on its device."""
    weight = next(model.parameters())
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(batch, grid.frames, 32, 2 * grid.height, 2 * grid.width, generator=generator)[samples]
    text = torch.randn(batch, grid.text, 32, generator=generator)[samples]
    size = (grid.height, grid.width)
    rotary = get_3d_rotary_pos_embed(HEAD_DIM, ((0, 0), size), size, grid.frames, device=weight.device)
    latents, text = latents.to(weight), text.to(weight)

    def run(timestep: float = 500.0) -> torch.Tensor:
        with torch.no_grad():
            times = torch.full((len(latents),), timestep, device=weight.device)
            return model(latents, text, times, image_rotary_emb=rotary, return_dict=False)[0]

    return run


def mixed_plan(layers: int = LAYERS, grid: TokenGrid = GRID) -> SparsePlan:
    """Every pattern once."""
    table = tuple(MIXED if layer % 2 == 0 else OTHER for layer in range(layers))
    return SparsePlan("random", grid, {"transformer": PartPlan(HEADS, HEAD_DIM, (table,))})


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """|a - b| / |b|."""
    a, b = a.detach().float(), b.detach().float()
    return float((a - b).norm() / b.norm())
