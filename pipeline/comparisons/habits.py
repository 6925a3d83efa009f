"""What do common slips cost?"""

from pipeline.comparisons import Comparison, ask
from pipeline.comparisons.initialisation import LECUN
from pipeline.comparisons.twenty_layers import BN, ELU, SELU

ELU_SCALED, SELU_SCALED = (
    one.derive(
        name=f"{one.name}_scaled",
        description=f"{one.name} with pixels / 255 instead of standardised",
        standardized=False,
    )
    for one in (ELU, SELU)
)
FROM_LOGITS = ELU.derive(
    name="from_logits",
    description="elu with from_logits=True, though the outputs are softmax",
    loss="sparse_categorical_crossentropy(from_logits=True)",
)
SOFTMAX_TWICE = ELU.derive(
    name="softmax_twice",
    description="elu with softmax of softmax as output",
    output_activation="softmax(softmax(x))",
)
BN_AFTER = BN.derive(
    name="bn_after",
    description="bn with the normalisation after the activation",
    normalization_place="after",
)
SELU_HE = SELU.derive(
    name="selu_he",
    description="selu with He's initialisation",
    kernel_initializer="he_normal",
    self_normalizing=False,
)
# The same trainings as those of elu, to the last digit: what differs is which weights are taken.
NOT_RESTORED = ELU.derive(
    name="not_restored",
    description="elu, stopped early without restoring the best weights",
    learning_rate_of="elu",
    restore_best_weights=False,
)
TEST_SET = ELU.derive(
    name="stopped_on_test",
    description="elu, stopped early on the test set",
    learning_rate_of="elu",
    validated_on="test",
)
CONVOLUTION = SELU.derive(
    name="selu_convolution",
    description="selu after a convolution, 32 of 3 x 3 with ReLU",
    convolution_filters=32,
    self_normalizing=False,
)
ADAM = ELU.derive(name="adam", description="elu with Adam", optimizer="adam")
UNTUNED = ADAM.derive(
    name="adam_0.001", description="elu with Adam at 0.001, not searched", learning_rate=0.001
)
BATCH = ELU.derive(name="batch_64", description="elu with batches of 64", batch_size=64)
FIFTH = ELU.derive(
    name="four_fifths",
    description="elu, trained on 40,000 images: a fifth is not trained with",
    images_per_class=4000,
)

# Which variant, against which, by which metric.
# fmt: off
ASKED = ask(
    ("from_logits", "elu", "test_accuracy",
     "Does from_logits=True cost accuracy where the outputs are softmax?",
     "worse", "from_logits=True on softmax outputs ruins the loss."),
    ("softmax_twice", "elu", "test_accuracy",
     "Does softmax of softmax cost accuracy?",
     "worse", "Softmax twice makes gradients small, and the network worse."),
    ("elu_scaled", "elu", "test_accuracy",
     "Do pixels / 255 cost accuracy with ELU?",
     "equal", "Pixels / 255 are as good as standardised ones."),
    ("selu_scaled", "selu", "test_accuracy",
     "Do pixels / 255 cost accuracy with SELU?",
     "worse", "SELU needs standardised inputs."),
    ("bn_after", "bn", "test_accuracy",
     "Is batch normalisation better after the activation?"),
    ("lecun", "elu", "test_accuracy",
     "Does LeCun's initialisation cost accuracy with ELU?",
     "worse", "ELU needs He's initialisation."),
    ("selu_he", "selu", "test_accuracy",
     "Does He's initialisation cost accuracy with SELU?",
     "worse", "SELU needs LeCun's initialisation."),
    ("not_restored", "elu", "test_accuracy",
     "Does it cost accuracy not to restore the best weights?",
     "worse", "Without the best weights, early stopping ends with overfitted ones."),
    ("stopped_on_test", "elu", "test_accuracy",
     "By how much does the test set flatter, used to stop early?",
     "better", "A test set that chooses the epoch flatters."),
    ("selu_convolution", "selu", "test_accuracy",
     "Does a convolution before SELU layers cost accuracy?"),
    ("adam", "elu", "test_accuracy",
     "Is Adam better than Nadam?",
     "equal", "Adam and Nadam come to the same."),
    ("adam_0.001", "adam", "test_accuracy",
     "Does Adam at 0.001 cost accuracy, without a search?",
     "equal", "Adam's default rate is good enough."),
    ("batch_64", "elu", "test_accuracy",
     "Do batches of 64 cost accuracy?",
     "equal", "The batch size hardly matters."),
    ("four_fifths", "elu", "test_accuracy",
     "Does it cost accuracy to hold out a fifth?"),
)
# fmt: on

COMPARISON = Comparison(
    variants=(
        *(ELU, SELU, BN, FROM_LOGITS, SOFTMAX_TWICE, ELU_SCALED, SELU_SCALED, BN_AFTER),
        *(LECUN, SELU_HE, NOT_RESTORED, TEST_SET, CONVOLUTION, ADAM, UNTUNED, BATCH, FIFTH),
    ),
    questions=ASKED,
)
