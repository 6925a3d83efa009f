"""The variants of twenty_layers as networks of 3 layers of 16 units; `SMALL` is the file's path."""

from dataclasses import replace
from pathlib import Path

from pipeline.comparisons import twenty_layers

SMALL = str(Path(__file__).resolve())
COMPARISON = replace(
    twenty_layers.COMPARISON,
    variants=tuple(
        replace(variant, hidden_layers=3, units=16) for variant in twenty_layers.COMPARISON.variants
    ),
)
