"""What `small_transfer` starts from: digits 0 to 4, by a network of 3 layers of 16 units."""

from pipeline.comparisons import Comparison, Data, Variant

DIGITS = Variant(
    name="digits",
    hidden_layers=3,
    units=16,
    batch_normalization=True,
    optimizer="adam",
    epochs=4,
    patience=2,
    search_epochs=2,
)
COMPARISON = Comparison(data=Data(source="mnist_5k", classes=(0, 1, 2, 3, 4)), variants=(DIGITS,))
