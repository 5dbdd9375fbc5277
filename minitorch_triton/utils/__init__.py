"""Tools around the graph: activation checkpointing and handles of hooks."""
