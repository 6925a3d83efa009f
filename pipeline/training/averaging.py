"""Averages of the weights: judged in their place, while training goes on from the weights."""

import keras


class Averaging:
    """What an optimizer with `use_ema` keeps beside the weights of its model, put in their place.

    Batch normalisation's statistics are averages of the training already, and stay.
    """

    def __init__(self, model: keras.Model):
        self._weights: list[keras.Variable] = []
        self._averages: list[keras.Variable] = []
        if model.optimizer.use_ema:
            self._weights = model.trainable_variables
            self._averages = model.optimizer._model_variables_moving_average
        self._shown = False

    def show(self) -> None:
        """Let the model have the averages, and the optimizer keep the weights."""
        self._exchange(shown=True)

    def hide(self) -> None:
        """Let the model have its weights again."""
        self._exchange(shown=False)

    def _exchange(self, *, shown: bool) -> None:
        if shown == self._shown:
            return
        self._shown = shown
        for weight, average in zip(self._weights, self._averages, strict=True):
            value = weight.numpy()
            weight.assign(average)
            average.assign(value)
