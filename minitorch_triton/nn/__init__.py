"""Modules, losses and initial values, with PyTorch's names, defaults and state_dict keys."""

from minitorch_triton.nn import functional, init, modules, utils
from minitorch_triton.nn.activation import (
    ELU,
    GELU,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softmin,
    Softplus,
    Tanh,
    Threshold,
)
from minitorch_triton.nn.container import ModuleDict, ModuleList, Sequential
from minitorch_triton.nn.dropout import Dropout
from minitorch_triton.nn.flatten import Flatten
from minitorch_triton.nn.linear import Identity, Linear
from minitorch_triton.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from minitorch_triton.nn.module import Module
from minitorch_triton.nn.normalization import BatchNorm1d, LayerNorm
from minitorch_triton.nn.parameter import Buffer, Parameter
from minitorch_triton.nn.sparse import Embedding

__all__ = [
    "Module",
    "Parameter",
    "Buffer",
    # containers
    "Sequential",
    "ModuleList",
    "ModuleDict",
    # layers
    "Linear",
    "Identity",
    "Flatten",
    "Dropout",
    "LayerNorm",
    "BatchNorm1d",
    "Embedding",
    # activations
    "ReLU",
    "LeakyReLU",
    "Tanh",
    "Threshold",
    "Sigmoid",
    "GELU",
    "SiLU",
    "ELU",
    "Softplus",
    "Softmax",
    "Softmin",
    "LogSoftmax",
    "LogSigmoid",
    # losses
    "CrossEntropyLoss",
    "NLLLoss",
    "MSELoss",
    "L1Loss",
    "SmoothL1Loss",
    "HuberLoss",
    "BCELoss",
    "BCEWithLogitsLoss",
    "KLDivLoss",
    # submodules
    "functional",
    "init",
    "modules",
    "utils",
]
