"""Compiled training of a variant on a data set, to the same digits whenever it is repeated.

Read `trainer` first; what a training comes to, early stopping and going on where it was cut off are
in `fit`, what happens around an epoch in `callbacks`, the networks in `models`. TensorFlow is
imported by `runtime`, before any other module of this room.

Imports `data`, `comparisons` and `base`; knows neither MLflow nor Optuna.
"""
