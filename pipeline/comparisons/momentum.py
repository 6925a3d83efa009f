"""What if the momentum of SGD is set too close to 1, such as 0.99999?"""

from collections.abc import Iterator

from pipeline.comparisons import Comparison, Variant, ask
from pipeline.comparisons.twenty_layers import ELU

# A momentum near 1 is slow to begin: of 0.99, the rates that are best after 25 epochs are a tenth
# behind after 5, by which a shorter search would have given them up.
MOMENTUM = ELU.derive(
    name="momentum_0.9",
    description="elu with SGD, momentum 0.9",
    optimizer="sgd(momentum=0.9)",
    may_diverge=True,
    search_epochs=100,
)


def _variants() -> Iterator[Variant]:
    """Every other momentum, with and without Nesterov, at the rate of 0.9 and at its own."""
    for nesterov in (False, True):
        for momentum in (0.0, 0.9, 0.99, 0.999, 0.99999):
            if nesterov and momentum == 0:
                continue  # they are the same
            name = f"{'nesterov' if nesterov else 'momentum'}_{momentum:g}"
            called = f"sgd(momentum={momentum}{', nesterov=True' if nesterov else ''})"
            words = f"SGD, momentum {momentum:g}{' with Nesterov' if nesterov else ''}"
            of_same_kind = f"{'nesterov' if nesterov else 'momentum'}_0.9"
            if name != MOMENTUM.name:
                yield MOMENTUM.derive(name=name, description=words, optimizer=called)
            if momentum != 0.9:
                yield MOMENTUM.derive(
                    name=f"{name}_same_rate",
                    description=f"{words}, at the rate that is best for 0.9",
                    optimizer=called,
                    learning_rate_of=of_same_kind,
                )


# Which variant, against which, by which metric.
# fmt: off
OVERSHOOTING = ask(
    ("momentum_0.99999_same_rate", "momentum_0.9", "highest_first_loss",
     "Does a momentum of 0.99999 overshoot less than 0.9, at the same rate?",
     "worse", "A momentum near 1 overshoots the minimum, again and again."),
    role="primary",
)
ASKED = ask(
    ("momentum_0.99999_same_rate", "momentum_0.9", "test_accuracy",
     "Is 0.99999 better than 0.9, at the same rate?",
     "worse", "A momentum near 1 does not settle in the minimum."),
    ("momentum_0.99999", "momentum_0.9", "test_accuracy",
     "Is 0.99999 better than 0.9, each at its own rate?",
     "worse", "No learning rate makes up for a momentum of 0.99999."),
    ("momentum_0.99999", "momentum_0.9", "epochs_to_target",
     "Does 0.99999 converge faster than 0.9, each at its own rate?",
     "worse", "A momentum near 1 takes much longer to converge."),
    ("momentum_0.99_same_rate", "momentum_0.9", "test_accuracy",
     "Is 0.99 better than 0.9, at the same rate?"),
    ("momentum_0.99", "momentum_0.9", "test_accuracy",
     "Is 0.99 better than 0.9, each at its own rate?"),
    ("momentum_0.999", "momentum_0.9", "test_accuracy",
     "Is 0.999 better than 0.9, each at its own rate?"),
    ("momentum_0", "momentum_0.9", "test_accuracy",
     "Is no momentum as good as 0.9, each at its own rate?"),
    ("momentum_0", "momentum_0.9", "epochs_to_target",
     "Does no momentum converge faster than 0.9?",
     "worse", "Momentum makes SGD converge faster."),
    ("nesterov_0.9", "momentum_0.9", "test_accuracy",
     "Is Nesterov's momentum better?"),
    ("nesterov_0.9", "momentum_0.9", "epochs_to_target",
     "Does Nesterov's momentum converge faster?",
     "better", "Nesterov's momentum is nearly always faster."),
)
# fmt: on

COMPARISON = Comparison(
    variants=(MOMENTUM, *_variants()),
    questions=(*OVERSHOOTING, *ASKED),
    figures=("first_losses",),
)
