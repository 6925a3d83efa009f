"""What people edit: one file per comparison.

A file declares its data, its variants and its questions as `COMPARISON`; `twenty_layers` is the one
to read first. `declarations`, `variants` and `questions` have what can be declared, `checks`
and `expressions` refuse what cannot, `colors` gives colours, `files` finds and reads the files.

Imports `base` alone, so that every room may read a declaration.
"""

from pipeline.comparisons.declarations import Comparison, Data
from pipeline.comparisons.questions import Question, ask
from pipeline.comparisons.variants import Variant

__all__ = ["Comparison", "Data", "Question", "Variant", "ask"]
