"""What are the advantages of ELU and SELU over ReLU, and when does which activation fit?"""

from pipeline.comparisons import Comparison, ask
from pipeline.comparisons.twenty_layers import BN, ELU, SELU

RELU = ELU.derive(name="relu", description="ReLU, He initialisation", activation="relu")
LEAKY, PRELU, SWISH, GELU = (
    RELU.derive(name=name, description=f"{words}, He initialisation", activation=activation)
    for name, words, activation in (
        ("leaky_relu", "leaky ReLU", "leaky_relu(negative_slope=0.1)"),
        ("prelu", "ReLU with a slope that is learnt of every unit", "prelu"),
        ("swish", "swish", "swish"),
        ("gelu", "GELU", "gelu"),
    )
)
TANH, SIGMOID, SOFTMAX = (
    RELU.derive(
        name=name,
        description=f"{name}, Glorot initialisation",
        activation=name,
        kernel_initializer="glorot_normal",
    )
    for name in ("tanh", "sigmoid", "softmax")
)
RELU_BN = BN.derive(name="relu_bn", description="ReLU after batch normalisation", activation="relu")
SIGMOIDS = ELU.derive(
    name="ten_sigmoids",
    description="elu with ten sigmoids as outputs, and binary cross-entropy",
    output_activation="sigmoid",
    loss="binary_crossentropy",
)

# Which variant, against which, by which metric.
# fmt: off
ASKED = ask(
    ("elu", "relu", "test_accuracy",
     "Does ELU give a better model than ReLU?",
     "better", "ELU does better than ReLU and its variants."),
    ("elu", "relu", "dead_units",
     "Does ELU have fewer dead units than ReLU?",
     "better", "ELU has no dead units, as its gradient is not 0 below 0."),
    ("elu", "relu", "epochs_to_target",
     "Does ELU converge faster than ReLU?",
     "better", "ELU converges faster than ReLU."),
    ("elu", "relu", "median_epoch_seconds",
     "Does ELU shorten an epoch of ReLU?",
     "worse", "ELU takes longer to compute than ReLU."),
    ("selu", "relu", "test_accuracy",
     "Does SELU give a better model than ReLU?",
     "better", "SELU does better than others in deep networks of dense layers."),
    ("selu", "elu", "test_accuracy",
     "Does SELU give a better model than ELU?",
     "better", "SELU does better than ELU where the network self-normalises."),
    ("selu", "relu_bn", "test_accuracy",
     "Does SELU give a better model than ReLU after batch normalisation?",
     "better", "SELU beats batch normalisation."),
    ("selu", "relu_bn", "median_epoch_seconds",
     "Does SELU shorten an epoch of ReLU after batch normalisation?",
     "better", "SELU saves the time of batch normalisation."),
    ("leaky_relu", "relu", "test_accuracy",
     "Does leaky ReLU give a better model than ReLU?",
     "better", "Leaky ReLU is nearly always better than ReLU."),
    ("prelu", "relu", "test_accuracy",
     "Does PReLU give a better model than ReLU?"),
    ("swish", "elu", "test_accuracy",
     "Does swish give a better model than ELU?"),
    ("gelu", "elu", "test_accuracy",
     "Does GELU give a better model than ELU?"),
    ("tanh", "elu", "test_accuracy",
     "Does tanh do as well as ELU?",
     "worse", "tanh saturates: a deep network does worse with it."),
    ("sigmoid", "elu", "test_accuracy",
     "Does sigmoid do as well as ELU?",
     "worse", "Gradients vanish through many layers of sigmoids."),
    ("softmax", "elu", "test_accuracy",
     "Does softmax as a hidden activation do as well as ELU?",
     "worse", "Softmax belongs in the output layer alone."),
    ("ten_sigmoids", "elu", "test_accuracy",
     "Do ten sigmoids do as well as softmax outputs?",
     "worse", "Exclusive classes need softmax outputs."),
)
# fmt: on

COMPARISON = Comparison(
    variants=(
        *(ELU, SELU, RELU, RELU_BN, LEAKY, PRELU, SWISH, GELU, TANH, SIGMOID, SOFTMAX),
        SIGMOIDS,
    ),
    questions=ASKED,
    figures=("layers",),
)
