"""Rates of another variant, a rate of its own, a network that is pruned, and one that diverges."""

from pathlib import Path

from pipeline.comparisons import Comparison, Question, Variant

RATES = str(Path(__file__).resolve())
ELU = Variant(name="small", hidden_layers=1, units=8, epochs=3, patience=2, search_epochs=1)
SAME_RATE = ELU.derive(
    name="same_rate", learning_rate_of="small", restore_best_weights=False, validated_on="test"
)
PRUNED = ELU.derive(
    name="pruned",
    starts_from="small",
    reused_layers=1,
    reused_output=True,
    learning_rate_of="same_rate",
    pruned=0.5,
    epochs=0,
)
TUNED = PRUNED.derive(name="tuned", epochs=1, patience=None)
DIVERGES = ELU.derive(name="diverges", learning_rate=1e30, may_diverge=True)
COMPARISON = Comparison(
    variants=(ELU, SAME_RATE, PRUNED, TUNED, DIVERGES),
    questions=tuple(
        Question(variant=name, reference="small", metric=metric)
        for name in ("pruned", "tuned", "same_rate", "diverges")
        for metric in ("test_accuracy", "epochs_to_target", "median_epoch_seconds")
    ),
    figures=("first_losses", "sparsity"),
)
