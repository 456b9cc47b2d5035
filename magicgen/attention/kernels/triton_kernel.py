# ruff: noqa: N803, N806, E741
# mypy: disable-error-code="no-untyped-def"
"""The GPU kernel for bands: block-sparse flash attention over contiguous key windows.

Imported only where Triton is installed. Written for bf16 and D = 64 on Ampere and newer; two things set it apart from a
general block-sparse kernel:

* Windows are contiguous, so a program needs two numbers (first and last key) instead of a list of blocks, and only the
  last block of the video and the last block of the text are masked.
* Diagonal and multi-diagonal heads run in one launch. A permuted head computes the token number of a position on the
  fly; every row is one 128-byte line, so reading rows out of order costs nothing that a separate permutation pass would
  not cost as well, and Q, K, V and the output are never copied.

The softmax is the online one of FlashAttention-2 (arXiv 2307.08691, algorithm 1), in base 2.
"""

import triton
import triton.language as tl


@triton.jit
def _token(position, permuted, FRAMES, PLACES, HAS_PERMUTED: tl.constexpr):
    """Frame-major number of the video token at ``position`` of the head's order."""
    if HAS_PERMUTED:
        return tl.where(permuted != 0, (position % FRAMES) * PLACES + position // FRAMES, position)
    return position


@triton.jit
def _block(
    acc,
    row_max,
    row_sum,
    q,
    K,
    V,
    rows,
    valid,
    stride_kn,
    stride_vn,
    scale,
    D: tl.constexpr,
    MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One block of keys: ``rows`` are token numbers, ``valid`` marks those that exist (used only if MASKED)."""
    dims = tl.arange(0, D)
    k_at = K + rows[:, None].to(tl.int64) * stride_kn + dims[None, :]
    v_at = V + rows[:, None].to(tl.int64) * stride_vn + dims[None, :]
    if MASKED:
        k = tl.load(k_at, mask=valid[:, None], other=0.0)
        v = tl.load(v_at, mask=valid[:, None], other=0.0)
    else:
        k = tl.load(k_at)
        v = tl.load(v_at)
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    if MASKED:
        scores = tl.where(valid[None, :], scores, float("-inf"))
    new_max = tl.maximum(row_max, tl.max(scores, 1) * scale)
    weights = tl.math.exp2(scores * scale - new_max[:, None])
    fade = tl.math.exp2(row_max - new_max)
    row_sum = row_sum * fade + tl.sum(weights, 1)
    acc = tl.dot(weights.to(v.dtype), v, acc * fade[:, None], input_precision=PRECISION)
    return acc, new_max, row_sum


@triton.jit
def band_attention(
    Q,
    K,
    V,
    O,
    FIRST,
    LAST,
    HEADS,
    PERMUTED,
    stride_qb,
    stride_qh,
    stride_qn,
    stride_kb,
    stride_kh,
    stride_kn,
    stride_vb,
    stride_vh,
    stride_vn,
    stride_ob,
    stride_oh,
    stride_on,
    group_heads,
    text,
    video,
    FRAMES,
    PLACES,
    scale,
    D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    HAS_PERMUTED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Video rows of the heads in HEADS: one program for BLOCK_M queries of one head of one sample.

    Q, K, V, O: [B,H,N,D] with any strides but a dense last dimension. FIRST, LAST: key window of each block of queries,
    in positions of the head's order, multiples of BLOCK_N except for the end of the video. ``scale`` includes log2(e).
    """
    block = tl.program_id(0)
    slot = tl.program_id(1) % group_heads
    sample = (tl.program_id(1) // group_heads).to(tl.int64)
    head = tl.load(HEADS + slot).to(tl.int64)
    permuted = tl.load(PERMUTED + slot)
    K += sample * stride_kb + head * stride_kh
    V += sample * stride_vb + head * stride_vh

    dims = tl.arange(0, D)
    lanes = tl.arange(0, BLOCK_N)
    positions = block * BLOCK_M + tl.arange(0, BLOCK_M)
    live = positions < video
    tokens = (text + _token(positions, permuted, FRAMES, PLACES, HAS_PERMUTED)).to(tl.int64)
    q_at = Q + sample * stride_qb + head * stride_qh + tokens[:, None] * stride_qn + dims[None, :]
    q = tl.load(q_at, mask=live[:, None], other=0.0)

    row_max = tl.full([BLOCK_M], -1.0e30, tl.float32)
    row_sum = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, D], tl.float32)

    first = tl.load(FIRST + block)
    last = tl.load(LAST + block)
    whole = first + (last - first) // BLOCK_N * BLOCK_N
    for start in range(first, whole, BLOCK_N):
        rows = text + _token(start + lanes, permuted, FRAMES, PLACES, HAS_PERMUTED)
        acc, row_max, row_sum = _block(
            acc, row_max, row_sum, q, K, V, rows, lanes >= 0, stride_kn, stride_vn, scale, D, False, PRECISION
        )
    if whole < last:
        rows = text + _token(whole + lanes, permuted, FRAMES, PLACES, HAS_PERMUTED)
        valid = whole + lanes < last
        acc, row_max, row_sum = _block(
            acc, row_max, row_sum, q, K, V, rows, valid, stride_kn, stride_vn, scale, D, True, PRECISION
        )
    for start in range(0, text, BLOCK_N):
        rows = start + lanes
        acc, row_max, row_sum = _block(
            acc, row_max, row_sum, q, K, V, rows, rows < text, stride_kn, stride_vn, scale, D, True, PRECISION
        )

    o_at = O + sample * stride_ob + head * stride_oh + tokens[:, None] * stride_on + dims[None, :]
    tl.store(o_at, (acc / row_sum[:, None]).to(O.dtype.element_ty), mask=live[:, None])
