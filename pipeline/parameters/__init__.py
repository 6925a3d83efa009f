"""What entry points can be asked for: every parameter declared once, in `groups`, or where
it is one entry point's alone in `entry_points`.

From a declaration come the command's option and its help, MLproject, and what a step is handed,
records and is named by. `parameter` reads texts and refuses them; `entry_points` puts the groups
together. Imports `comparisons` and `base`.
"""

from pipeline.parameters.entry_points import (
    ENTRY_POINTS,
    Compare,
    Main,
    McDropout,
    Nightly,
    Prepare,
    Questions,
    Search,
    Train,
    comparison_of,
    given_texts,
    mlflow_run,
    recorded,
    settings_of,
)
from pipeline.parameters.groups import PANELS, DataSet, ModelSettings, Searching, Training
from pipeline.parameters.parameter import REQUIRED, Parameters, declared

__all__ = ["ENTRY_POINTS", "Compare", "Main", "McDropout", "Nightly"]
__all__ += ["Prepare", "Questions", "Search", "Train"]
__all__ += ["PANELS", "REQUIRED", "DataSet", "ModelSettings", "Parameters", "Searching", "Training"]
__all__ += ["comparison_of", "declared", "given_texts", "mlflow_run", "recorded", "settings_of"]
