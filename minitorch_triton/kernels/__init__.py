"""Triton kernels and their thin launchers on raw buffers; nothing here knows a Tensor or a graph."""
