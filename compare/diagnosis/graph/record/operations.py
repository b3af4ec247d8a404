"""What is known of torch's operations by their names: how they are written, what they do to numbers and shapes."""

from __future__ import annotations

INFIX = {"add": "+", "sub": "−", "mul": "·", "div": "/", "mm": "@", "bmm": "@", "matmul": "@"}
COMPARED = {"gt": ">", "lt": "<", "ge": "≥", "le": "≤", "eq": "=", "ne": "≠"}
# Only move numbers about, and are not written in a formula.
SILENT = {
    "view", "_unsafe_view", "reshape", "expand", "clone", "unsqueeze", "squeeze", "detach", "alias", "contiguous",
    "lift_fresh", "_to_copy",
}  # fmt: skip
TURNS = {"t", "permute", "transpose"}
MOVES = SILENT | TURNS  # all that only moves numbers about
RESHAPES = {"permute", "transpose", "t", "view", "_unsafe_view", "clone"}
SPLITTING = {"split", "unsafe_split", "split_with_sizes", "chunk", "unbind", "unsafe_chunk"}
# Make their result of a shape alone.
MADE = {"full", "full_like", "zeros_like", "ones_like", "empty_like", "fill", "new_zeros", "new_ones", "scalar_tensor"}
# What runs along axes, which are its second argument.
ALONG = {"sum", "mean", "amax", "amin", "max", "min", "prod", "cumsum", "logsumexp", "_softmax", "_log_softmax", "flip"}
BOUNDED = {"hardtanh", "clamp", "clamp_min", "clamp_max"}  # keep numbers between bounds
PRODUCTS = {"mul", "div", "mm", "bmm", "matmul", "convolution", "dot", "mv"}
# Functions of one number.
ELEMENTWISE = {
    "tanh", "sigmoid", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "tan", "erf", "abs",
    "relu", "softplus", "gelu", "silu", "pow", "sinh", "cosh", "atan", "asin", "acos", "asinh", "acosh", "atanh",
    "threshold", "neg", "erfc", "exp2", "log2", "log10", "mish", "elu", "log_sigmoid_forward", "hardswish",
    "hardsigmoid", "sign", "square", "round", "floor", "ceil", "trunc", "celu", "leaky_relu", "detach", "softshrink",
    "hardshrink", *BOUNDED,
}  # fmt: skip
# Functions of several numbers whose derivative depends on where it is evaluated.
MIXING = {
    "_softmax", "_log_softmax", "logsumexp", "linalg_vector_norm", "prod", "cumprod", "std", "var", "logcumsumexp",
}  # fmt: skip
PIECES = {"_prelu_kernel", "leaky_relu", "relu", "elu", "celu"}  # one formula above 0, another one below
MASKS = {"relu", "threshold", "softshrink", "hardshrink", *BOUNDED}  # the derivative is 0 or 1
AVERAGE_POOLS = {"avg_pool1d", "avg_pool2d", "avg_pool3d"}
MAX_POOLS = {"max_pool2d_with_indices", "max_pool3d_with_indices"}
ENLARGEMENTS = {"upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"}
UPSAMPLED = ENLARGEMENTS | {"upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"}
