"""What entry points can be asked for: every parameter declared once, in `groups`.

From a declaration come the command's option and its help, MLproject, and what a step is handed,
records and is named by. `parameter` reads texts and refuses them; `entry_points` puts the groups
together. Imports `comparisons` and `base`.
"""

from pipeline.parameters.entry_points import (
    ENTRY_POINTS,
    Compare,
    Main,
    McDropout,
    Prepare,
    Search,
    Train,
    comparison_of,
    mlflow_run,
    recorded,
    settings_of,
)
from pipeline.parameters.parameter import Parameter, Parameters

__all__ = [
    "ENTRY_POINTS",
    "Compare",
    "Main",
    "McDropout",
    "Parameter",
    "Parameters",
    "Prepare",
    "Search",
    "Train",
    "comparison_of",
    "mlflow_run",
    "recorded",
    "settings_of",
]
