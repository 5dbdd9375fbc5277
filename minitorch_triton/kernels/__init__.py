"""Triton kernels and their thin launchers on raw buffers; no Tensor, no graph is known here."""
