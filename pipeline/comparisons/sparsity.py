"""Three ways to a sparse model: what do pruning, l1 and Ftrl leave of weights and accuracy?"""

from pipeline.comparisons import Comparison, Question, Variant, ask
from pipeline.comparisons.dropout_cost import DROPOUT
from pipeline.comparisons.twenty_layers import ELU

SHARES = (0.5, 0.75, 0.9, 0.95, 0.99)  # of weights that are pruned


def _pruned(source: Variant, share: float, epochs: int, name: str) -> Variant:
    """A network that is finished, pruned by magnitude, and trained on for some epochs."""
    return source.derive(
        name=f"{name}_{share:.0%}".rstrip("%"),
        description=f"{source.name}, then {share:.0%} of the weights pruned"
        + (f" and {epochs} epochs more" if epochs else ""),
        starts_from=source.name,
        reused_layers=source.hidden_layers,
        reused_output=True,
        kernel_regularizer="",
        learning_rate_of=source.name,
        pruned=share,
        epochs=epochs,
        patience=None,
    )


L1 = tuple(
    ELU.derive(
        name=f"l1_{strength}",
        description=f"elu with l1 of {strength}",
        kernel_regularizer=f"l1({strength})",
    )
    for strength in ("0.00001", "0.0001", "0.001")
)
L2 = ELU.derive(
    name="l2_0.0001", description="elu with l2 of 0.0001", kernel_regularizer="l2(0.0001)"
)
PRUNED = tuple(_pruned(ELU, share, 0, "pruned") for share in SHARES)
TUNED = tuple(_pruned(ELU, share, 3, "pruned_tuned") for share in SHARES)
L1_PRUNED = _pruned(L1[0], 0.9, 3, "l1_pruned_tuned")
GRADUAL = tuple(
    ELU.derive(
        name=f"gradual_{share:.0%}".rstrip("%"),
        description=f"elu, of which training prunes {share:.0%} gradually",
        pruned=share,
        pruning="gradual",
    )
    for share in (0.9, 0.99)
)
# Keras's Ftrl begins with an accumulator of 0.1, by which its first step forgets initial weights.
# With one of 0, weights of inputs that are always 0 become 0 / 0.
FTRL_DEFAULT = ELU.derive(
    name="ftrl_default",
    description="elu with Ftrl as Keras has it, l1 of 0.1",
    optimizer="ftrl(l1_regularization_strength=0.1)",
)
FTRL = tuple(
    ELU.derive(
        name=f"ftrl_{strength}",
        description=f"elu with Ftrl that keeps the initial weights, l1 of {strength}",
        optimizer=f"ftrl(initial_accumulator_value=1e-14, l1_regularization_strength={strength})",
    )
    for strength in (0.1, 1.0)
)

# Which variant, against which, by which metric.
# fmt: off
ASKED = (
    *ask(
        ("l1_0.0001", "elu", "zero_weights",
         "Does l1 make weights 0?",
         "better", "l1 makes most weights exactly 0."),
        ("l2_0.0001", "elu", "zero_weights",
         "Does l2 make weights 0?",
         "better", "l2 makes a model sparse."),
        ("dropout_0.1_all", "elu", "zero_weights",
         "Does dropout make weights 0?",
         "better", "Dropout makes a model sparse."),
        ("ftrl_0.1", "elu", "zero_weights",
         "Does Ftrl with l1 make weights 0?",
         "better", "Ftrl with l1 makes a model sparse."),
        ("ftrl_0.1", "elu", "test_accuracy",
         "Is a network as good whose weights Ftrl has made 0?"),
        ("ftrl_default", "elu", "test_accuracy",
         "Does Ftrl train a deep network, as Keras has it?"),
        ("gradual_90", "elu", "test_accuracy",
         "Is a network of which 90% is pruned gradually as good as whole?",
         "equal", "Gradual pruning of 90% changes next to nothing."),
        ("gradual_90", "pruned_tuned_90", "test_accuracy",
         "Is it better to prune gradually than all at once, then training on?",
         "better", "Gradual pruning is better than pruning at once."),
    ),
    *(
        Question(
            variant=one.name,
            reference="elu",
            metric="test_accuracy",
            text=f"Is elu as good with {one.pruned:.0%} of its weights pruned"
            + (", after 3 epochs more?" if one.epochs else "?"),
        )
        for one in (*PRUNED, *TUNED)
    ),
)
# fmt: on

COMPARISON = Comparison(
    variants=(ELU, *PRUNED, *TUNED, *L1, L1_PRUNED, *GRADUAL, FTRL_DEFAULT, *FTRL, L2, DROPOUT[0]),
    questions=ASKED,
    figures=("sparsity",),
)
