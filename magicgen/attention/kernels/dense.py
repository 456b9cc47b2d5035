"""Dense attention: PyTorch's by default, xformers and flash-attention where a GPU has them.

Neither library has a block-sparse kernel that can be used here (xformers: every operator is CUDA only, no arbitrary
block mask), so they serve as dense baselines and for groups of heads whose keys were gathered beforehand.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from magicgen.errors import PlanError

DenseFn = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

FEW = 64
"""Up to this many queries or keys, two plain matrix products beat the tiled kernel on a CPU."""


def sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """PyTorch's scaled dot product attention: [B,H,M,D] x [B,H,N,D] -> [B,H,M,D]."""
    return F.scaled_dot_product_attention(q, k, v, dropout_p=0.0, is_causal=False)


def _sdpa_with(name: str) -> DenseFn:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    backend = getattr(SDPBackend, name)

    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(backend):
            return sdpa(q, k, v)

    return run


def _xformers() -> DenseFn:
    from xformers.ops import memory_efficient_attention

    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return memory_efficient_attention(q, k, v).transpose(1, 2)

    return run


def _flash_attention(module_name: str) -> DenseFn:
    import importlib

    function = importlib.import_module(module_name).flash_attn_func

    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        out = function(*(x.transpose(1, 2) for x in (q, k, v)))
        return (out[0] if isinstance(out, tuple) else out).transpose(1, 2)

    return run


DENSE_BACKENDS: dict[str, Callable[[], DenseFn]] = {
    "sdpa": lambda: sdpa,
    "sdpa_flash": lambda: _sdpa_with("FLASH_ATTENTION"),
    "sdpa_cudnn": lambda: _sdpa_with("CUDNN_ATTENTION"),
    "xformers": _xformers,
    "flash_attention_2": lambda: _flash_attention("flash_attn"),
    "flash_attention_3": lambda: _flash_attention("flash_attn_interface"),
}


def dense_backend(name: str) -> DenseFn:
    """The dense attention function called ``name``. Raises PlanError if it is unknown or its library is missing."""
    if name not in DENSE_BACKENDS:
        raise PlanError(f"dense backend {name!r} is unknown; expected one of {', '.join(DENSE_BACKENDS)}")
    try:
        return DENSE_BACKENDS[name]()
    except ImportError as error:
        raise PlanError(f"dense backend {name} is not installed here ({error}); use 'sdpa'") from error


def working_dense_backends(device: torch.device, dtype: torch.dtype, head_dim: int) -> dict[str, DenseFn]:
    """Every dense backend that runs on this device, tried once on a small input. ``sdpa`` is always among them."""
    found: dict[str, DenseFn] = {"sdpa": sdpa}
    if device.type != "cuda":
        return found
    sample = torch.zeros(1, 1, 256, head_dim, device=device, dtype=dtype)
    for name in DENSE_BACKENDS:
        # Libraries report an unsupported device, dtype or build through several exception types.
        try:
            function = dense_backend(name)
            function(sample, sample, sample)
        except (PlanError, RuntimeError, NotImplementedError, ValueError):
            continue
        found[name] = function
    return found


def few(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention where queries or keys are few (text rows): the M x N scores are small enough to be written out."""
    if q.device.type != "cpu" or min(q.shape[2], k.shape[2]) > FEW:
        return sdpa(q, k, v)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return torch.softmax(scores.float(), dim=-1).to(v.dtype) @ v
