"""Deep learning whose every operation, forward and backward, is a Triton kernel.

The names are PyTorch's: a PyTorch script runs after ``import minitorch_triton as torch``, as far
as what it uses is here (see the README's table of operations).
"""

# First of all: PyTorch must not be imported where this refuses to be.
from minitorch_triton import interpreters  # isort: skip

from math import e, inf, nan, pi

from torch import (
    Size,
    bfloat16,
    bool,
    can_cast,
    channels_last,
    contiguous_format,
    cuda,
    device,
    dtype,
    finfo,
    float16,
    float32,
    float64,
    get_default_dtype,
    get_num_threads,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    memory_format,
    preserve_format,
    promote_types,
    set_default_dtype,
    set_num_threads,
    set_printoptions,
    typename,
    uint8,
)

from minitorch_triton import cpu

cpu.enable()

# Everything below may start kernels, which on a CPU run natively from here on.
from minitorch_triton import autograd, checking, data, nn, ops, optim, utils  # noqa: E402
from minitorch_triton.autograd import (  # noqa: E402
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from minitorch_triton.autograd.anomaly_mode import (  # noqa: E402
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    set_anomaly_enabled,
)
from minitorch_triton.factories import (  # noqa: E402
    BFloat16Tensor,
    BoolTensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
    empty,
    empty_like,
    empty_strided,
    full,
    full_like,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from minitorch_triton.ops import add, sub  # noqa: E402
from minitorch_triton.ops.comparison import allclose, equal, isclose, isin  # noqa: E402
from minitorch_triton.ops.creation import (  # noqa: E402
    arange,
    cat,
    clone,
    eye,
    linspace,
    stack,
)
from minitorch_triton.ops.indexing import (  # noqa: E402
    gather,
    index_select,
    masked_select,
    nonzero,
    scatter,
    scatter_add,
)
from minitorch_triton.ops.pointwise import (  # noqa: E402
    abs,
    atan2,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    ceil,
    clamp,
    cos,
    div,
    eq,
    erf,
    exp,
    expm1,
    floor,
    floor_divide,
    fmod,
    ge,
    gt,
    isfinite,
    isinf,
    isnan,
    le,
    log,
    log1p,
    log2,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    masked_fill,
    maximum,
    minimum,
    mul,
    ne,
    neg,
    pow,
    reciprocal,
    relu,
    remainder,
    round,
    rsqrt,
    sigmoid,
    sign,
    signbit,
    sin,
    sqrt,
    square,
    tanh,
    threshold,
    trunc,
    where,
)
from minitorch_triton.ops.products import (  # noqa: E402
    addmm,
    baddbmm,
    bmm,
    dot,
    get_float32_matmul_precision,
    matmul,
    mm,
    mv,
    outer,
    set_float32_matmul_precision,
)
from minitorch_triton.ops.random import (  # noqa: E402
    Generator,
    bernoulli,
    get_rng_state,
    initial_seed,
    manual_seed,
    normal,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    set_rng_state,
)
from minitorch_triton.ops.reductions import (  # noqa: E402
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    logsumexp,
    max,
    mean,
    min,
    norm,
    prod,
    std,
    std_mean,
    sum,
    trace,
    var,
    var_mean,
)
from minitorch_triton.ops.softmaxes import log_softmax, softmax  # noqa: E402
from minitorch_triton.ops.strided import as_strided  # noqa: E402
from minitorch_triton.ops.views import (  # noqa: E402
    broadcast_to,
    chunk,
    diagonal,
    flatten,
    movedim,
    narrow,
    permute,
    reshape,
    select,
    split,
    split_with_sizes,
    squeeze,
    t,
    transpose,
    unbind,
    unsafe_chunk,
    unsafe_split,
    unsqueeze,
)
from minitorch_triton.serialization import load, save  # noqa: E402
from minitorch_triton.tensor import (  # noqa: E402
    Tensor,
    as_tensor,
    from_dlpack,
    from_numpy,
    from_torch,
    is_floating_point,
    is_inference,
    is_tensor,
    numel,
    tensor,
)

float = float32
double = float64
half = float16
long = int64
int = int32
short = int16
clip = clamp
arctan2 = atan2
concat = cat
moveaxis = movedim
swapaxes = swapdims = transpose
unsafe_split_with_sizes = unsafe_split
newaxis = None

__version__ = "0.1.0"
