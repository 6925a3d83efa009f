"""Is it OK to give all weights one value, drawn from He's distribution? And biases of 0?"""

from pipeline.comparisons import Comparison, ask
from pipeline.comparisons.twenty_layers import ELU

EQUAL = ELU.derive(
    name="equal_weights",
    description="elu with all weights of a kernel equal: one draw from He's distribution",
    kernel_initializer="equal(he_normal)",
    output_initializer="equal(he_normal)",
)
ZEROS = ELU.derive(
    name="zero_weights",
    description="elu with all weights 0",
    kernel_initializer="zeros",
    output_initializer="zeros",
)
LECUN, GLOROT, SMALL = (
    ELU.derive(
        name=name, description=f"elu with {words} initialisation", kernel_initializer=initializer
    )
    for name, words, initializer in (
        ("lecun", "LeCun's", "lecun_normal"),
        ("glorot", "Glorot's", "glorot_normal"),
        ("small_weights", "normal (SD 0.01)", "random_normal(stddev=0.01)"),
    )
)
BIASES = tuple(
    ELU.derive(name=name, description=f"elu with biases {words}", bias_initializer=initializer)
    for name, words, initializer in (
        ("biases_0.01", "of 0.01", "constant(0.01)"),
        ("biases_0.1", "of 0.1", "constant(0.1)"),
        ("biases_drawn", "drawn (SD 0.1)", "random_normal(stddev=0.1)"),
    )
)

# Which variant, against which, by which metric.
# fmt: off
ASKED = ask(
    ("equal_weights", "elu", "test_accuracy",
     "Is it OK to give all weights of a layer one value?",
     "equal", "Equal weights are fine, as long as the value is drawn from He's distribution."),
    ("equal_weights", "elu", "distinct_units",
     "Have equal weights as many distinct units after training?",
     "equal", "Training makes equal weights different."),
    ("zero_weights", "elu", "test_accuracy",
     "Do weights of 0 do as well as drawn ones?",
     "worse", "Weights must not begin as 0."),
    ("biases_0.01", "elu", "test_accuracy",
     "Are biases of 0.01 better than of 0?",
     "better", "Small positive biases are better than 0."),
    ("biases_0.1", "elu", "test_accuracy",
     "Are biases of 0.1 better than of 0?"),
    ("biases_drawn", "elu", "test_accuracy",
     "Are drawn biases better than of 0?",
     "equal", "It is OK to begin with biases of 0."),
    ("lecun", "elu", "test_accuracy",
     "Is LeCun's initialisation better than He's for ELU?",
     "worse", "ELU needs He's initialisation."),
    ("glorot", "elu", "test_accuracy",
     "Is Glorot's initialisation better than He's for ELU?",
     "worse", "ELU needs He's initialisation, not Glorot's."),
    ("small_weights", "elu", "test_accuracy",
     "Do weights of a fixed small size do as well as He's?",
     "worse", "A deep network trains badly from small weights of a fixed size."),
)
# fmt: on

COMPARISON = Comparison(
    variants=(ELU, EQUAL, ZEROS, LECUN, GLOROT, SMALL, *BIASES),
    questions=ASKED,
    figures=("layers",),
)
