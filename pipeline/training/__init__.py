"""Compiled training of a variant on a data set, to the same digits whenever it is repeated.

Read `trainer` first; what a training comes to, early stopping and going on where it was cut off are
in `fit`, the networks in `models`, made of `layers`; what they take from others in `transfer`.
What is declared as text becomes what Keras has in `keras_objects`, `activations` and `optimizers`;
`settings` tells beforehand whether it has it.
Some variants need more: `augmentation`, `averaging`, `pruning`.
`runtime.import_tensorflow` is called before another import.

Imports `data`, `comparisons` and `base`; knows neither MLflow nor Optuna.
"""
