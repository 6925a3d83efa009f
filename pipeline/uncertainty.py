"""MC Dropout and how far to trust a probability: calibration, entropy and paired tests.

The metrics need NumPy and SciPy only; TensorFlow is imported by the functions that take a model.

Sources:
    Gal and Ghahramani (2016), "Dropout as a Bayesian Approximation: Representing Model
    Uncertainty in Deep Learning", ICML.
    Guo, Pleiss, Sun and Weinberger (2017), "On Calibration of Modern Neural Networks", ICML.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.special
import scipy.stats

from pipeline.errors import InputError

if TYPE_CHECKING:
    import keras


def dropout_layers(model: "keras.Model") -> list["keras.Layer"]:
    """The layers of a model that drop something: any Keras dropout with a rate above 0.

    Args:
        model: a Keras model; the layers of models nested in it are not looked into.

    Returns:
        `Dropout`, `SpatialDropout`, `AlphaDropout` and `GaussianDropout` layers, in model order.
    """
    import keras

    kinds = (keras.layers.Dropout, keras.layers.AlphaDropout, keras.layers.GaussianDropout)
    return [layer for layer in model.layers if isinstance(layer, kinds) and layer.rate > 0]


def mc_probabilities(
    model: "keras.Model",
    images: npt.NDArray[Any],
    *,
    samples: int,
    seed: int,
    batch_size: int = 1000,
) -> npt.NDArray[np.float32]:
    """Class probabilities under random dropout masks, from a trained model as it is.

    Only the dropout layers are random: every other layer runs in inference mode, so batch
    normalisation uses its moving averages and leaves them alone. Each image has its own mask in
    each sample and each layer. What comes before the first dropout layer is computed once per
    image. The model, including the state of its seed generators, is left untouched.

    Args:
        model: a chain of layers, each with one input and one output, that ends in probabilities.
        images: shape (n, ...), of the shape and a dtype that the model's input takes.
        samples: how many times each image is predicted.
        seed: 0 or above. The same seed gives the same probabilities to the last bit, for the same
            images and batch size.
        batch_size: images per step; bounds the memory.

    Returns:
        Shape (samples, n, classes).

    Raises:
        InputError: the model has no dropout layers or is not a linear chain, the images do not
            fit its input, or a number is out of range.

    Source: Gal and Ghahramani (2016), section 4: T stochastic forward passes.
    """
    _require_at_least("samples", samples, 1)
    _require_at_least("batch_size", batch_size, 1)
    _require_at_least("seed", seed, 0)
    layers = _linear_chain(model)
    images = _fit_input(model, images)
    sample_batch = _trace_sampler(model, layers, samples=samples, seed=seed)

    probabilities = np.empty((samples, len(images), model.output_shape[-1]), np.float32)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        probabilities[:, start : start + len(batch)] = sample_batch(batch)
    return probabilities


def _require_at_least(name: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise InputError(
            name,
            expected=f"an integer of {minimum} or more",
            received=repr(value),
            action=f"Choose a larger {name}.",
        )


def _linear_chain(model: "keras.Model") -> list["keras.Layer"]:
    """The model's layers in the order they are applied, input layer aside."""
    import keras

    if not dropout_layers(model):
        raise InputError(
            f"model {model.name!r}",
            expected="at least one dropout layer with a rate above 0",
            received="a model that has no dropout layers, so MC Dropout cannot vary it",
            action="Train a variant with dropout, such as alpha_dropout.",
        )
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    broken = next((layer for layer in layers if isinstance(layer, keras.Model)), None)
    if broken is None and not isinstance(model, keras.Sequential):
        broken = _first_off_chain(model, layers)
    if broken is not None:
        raise InputError(
            f"model {model.name!r}",
            expected="a linear chain of layers, each applied once to the output of the one before",
            received=f"a graph that branches, repeats or nests at {broken.name!r}",
            action="Build the model without branches, shared layers or nested models.",
        )
    return layers


def _first_off_chain(model: "keras.Model", layers: list["keras.Layer"]) -> Any:
    """The first layer that is not applied to the output of its predecessor, None if all are."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        return model
    tensor = model.inputs[0]
    for layer in layers:
        if layer.input is not tensor:
            return layer
        tensor = layer.output
    return None if tensor is model.outputs[0] else layers[-1]


def _fit_input(model: "keras.Model", images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The images in the dtype of the model's input, refused where that would change them."""
    shape, dtype = tuple(model.input_shape[1:]), np.dtype(model.inputs[0].dtype)
    sizes_match = len(shape) == images.ndim - 1 and all(
        expected in (None, size) for expected, size in zip(shape, images.shape[1:], strict=True)
    )
    # "same_kind" lets float64 become float32, but not images scaled to [0, 1] become all 0.
    if not sizes_match or not np.can_cast(images.dtype, dtype, casting="same_kind"):
        raise InputError(
            "images",
            expected=f"shape (n, {', '.join(map(str, shape))}) and dtype {dtype}",
            received=f"shape {images.shape} and dtype {images.dtype}",
            action="Pass images as the model was trained on, before any scaling.",
        )
    return images.astype(dtype, copy=False)


def _trace_sampler(
    model: "keras.Model", layers: list["keras.Layer"], *, samples: int, seed: int
) -> Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]:
    """One graph from a batch of images to probabilities of shape (samples, batch, classes)."""
    import tensorflow as tf

    copies = _reseeded_copies(dropout_layers(model), seed)
    first = next(index for index, layer in enumerate(layers) if layer in copies)

    def apply(part: list["keras.Layer"], tensor: Any) -> Any:
        for layer in part:
            tensor = copies.get(layer, layer)(tensor, training=layer in copies)
        return tensor

    # Not jit_compile: on a CPU, XLA takes some 30 times as long to draw masks inside a loop.
    @tf.function
    def sample_batch(images: Any) -> Any:
        features = apply(layers[:first], images)
        return tf.map_fn(
            lambda _: tf.cast(apply(layers[first:], features), tf.float32),
            tf.range(samples),
            parallel_iterations=1,
            fn_output_signature=tf.float32,
        )

    signature = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)
    graph = sample_batch.get_concrete_function(signature)
    return lambda images: graph(tf.constant(images)).numpy()


def _reseeded_copies(
    dropouts: list["keras.Layer"], seed: int
) -> dict["keras.Layer", "keras.Layer"]:
    """A copy of each layer with a seed of its own, so that the originals' state stays as it is.

    The layers' own seeds would not do: a model may give all of them the same one, and so the same
    masks.
    """
    seeds = np.random.SeedSequence(seed).generate_state(len(dropouts)).tolist()
    return {
        layer: type(layer).from_config({**layer.get_config(), "seed": layer_seed})
        for layer, layer_seed in zip(dropouts, seeds, strict=True)
    }


@dataclass(frozen=True, eq=False)  # Arrays have no single truth value to compare by.
class CalibrationBins:
    """What a reliability diagram shows, one entry per confidence bin.

    Attributes:
        confidence: shape (bins,), mean confidence of the bin's predictions, NaN if it has none.
        accuracy: shape (bins,), the share of them that is correct, NaN if it has none.
        count: shape (bins,), how many predictions fell into the bin.
    """

    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]


class McNemarTest(NamedTuple):
    """How two classifiers differ on the same images.

    Attributes:
        only_a: images that only the first classifier has right.
        only_b: images that only the second classifier has right.
        p_value: two-sided, of a split at least as uneven if both were equally accurate.
    """

    only_a: int
    only_b: int
    p_value: float


def negative_log_likelihood(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> float:
    """Mean of -ln p(true class), in nats per image.

    Args:
        probabilities: shape (n, classes), clipped from below at the smallest normal float32.
        labels: shape (n,), the true classes.

    Raises:
        InputError: the shapes do not belong together, or there is nothing to average.
    """
    _require_labels(probabilities.shape, labels)
    of_true_class = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(of_true_class, np.finfo(np.float32).tiny)).mean())


def calibration_bins(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], bins: int = 15
) -> CalibrationBins:
    """Confidence and accuracy by bins of confidence, the probability of the predicted class.

    Args:
        probabilities: shape (n, classes).
        labels: shape (n,), the true classes.
        bins: how many bins of equal width, bin m being ((m - 1) / bins, m / bins].

    Raises:
        InputError: the shapes do not belong together, or `bins` is below 1.

    Source: Guo et al. (2017), section 2.
    """
    _require_labels(probabilities.shape, labels)
    _require_at_least("bins", bins, 1)
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    # In the probabilities' precision, else a float32 0.2 lies above the edge of 0.2.
    edges = np.linspace(0, 1, bins + 1)[1:-1].astype(probabilities.dtype)
    bin_of = np.searchsorted(edges, confidence, side="left")
    count = np.bincount(bin_of, minlength=bins)
    divisor = np.where(count > 0, count, np.nan)
    return CalibrationBins(
        confidence=np.bincount(bin_of, weights=confidence, minlength=bins) / divisor,
        accuracy=np.bincount(bin_of, weights=correct, minlength=bins) / divisor,
        count=count,
    )


def expected_calibration_error(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over bins of confidence, 0 to 1.

    Args:
        probabilities: shape (n, classes).
        labels: shape (n,), the true classes.
        bins: how many bins of equal width.

    Raises:
        InputError: the shapes do not belong together, or `bins` is below 1.

    Source: Guo et al. (2017), equation 3.
    """
    found = calibration_bins(probabilities, labels, bins)
    filled = found.count > 0
    gaps = np.abs(found.accuracy - found.confidence)
    return float(np.average(gaps[filled], weights=found.count[filled]))


def predictive_entropy(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """How undecided a prediction is, in nats: 0 for certainty, ln(classes) for no idea.

    Args:
        probabilities: shape (n, classes).

    Returns:
        Shape (n,).
    """
    return scipy.special.entr(probabilities.astype(np.float64)).sum(axis=-1)


def mutual_information(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """How much of the uncertainty the masks cause (epistemic), in nats, 0 where they agree.

    The entropy of the mean prediction less the mean entropy of the predictions.

    Args:
        samples: shape (samples, n, classes).

    Returns:
        Shape (n,), at least 0.

    Source: Houlsby et al. (2011), "Bayesian Active Learning for Classification and Preference
    Learning", equation 2.
    """
    total = predictive_entropy(samples.mean(axis=0, dtype=np.float64))
    within = np.mean([predictive_entropy(sample) for sample in samples], axis=0)
    return np.maximum(total - within, 0.0)  # Never negative but for rounding.


def accuracy_by_samples(
    samples: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """Accuracy of the mean of the first s samples, for s = 1 to all of them.

    Args:
        samples: shape (samples, n, classes).
        labels: shape (n,), the true classes.

    Returns:
        Shape (samples,).

    Raises:
        InputError: the shapes do not belong together.
    """
    _require_labels(samples.shape[1:], labels)
    total = np.zeros(samples.shape[1:])
    accuracies = np.empty(len(samples))
    for index, sample in enumerate(samples):
        total += sample
        accuracies[index] = np.mean(total.argmax(axis=1) == labels)
    return accuracies


def mcnemar_exact(
    correct_a: npt.NDArray[np.bool_], correct_b: npt.NDArray[np.bool_]
) -> McNemarTest:
    """Whether two classifiers differ in accuracy on the same images: exact binomial, two-sided.

    Args:
        correct_a: shape (n,), which images the first classifier has right.
        correct_b: shape (n,), the same for the second.

    Returns:
        The counts and a p-value, which is 1 if they never disagree.

    Raises:
        InputError: the shapes differ.

    Source: McNemar (1947), "Note on the sampling error of the difference between correlated
    proportions or percentages", in its exact form.
    """
    if correct_a.shape != correct_b.shape:
        raise InputError(
            "correct_b",
            expected=f"shape {correct_a.shape}, as correct_a",
            received=f"shape {correct_b.shape}",
            action="Judge both classifiers on the same images.",
        )
    only_a = int(np.count_nonzero(correct_a & ~correct_b))
    only_b = int(np.count_nonzero(correct_b & ~correct_a))
    if only_a + only_b == 0:
        return McNemarTest(only_a, only_b, 1.0)
    return McNemarTest(only_a, only_b, float(scipy.stats.binomtest(only_a, only_a + only_b).pvalue))


def mc_summary(
    samples: npt.NDArray[np.floating],
    deterministic: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
) -> dict[str, float]:
    """MC Dropout next to the same model's ordinary prediction, as metrics.

    Args:
        samples: shape (samples, n, classes), from `mc_probabilities`.
        deterministic: shape (n, classes), from `model.predict`.
        labels: shape (n,), the true classes.

    Returns:
        mc_accuracy, mc_nll and mc_ece of the mean over samples; mc_gain, its accuracy less the
        ordinary one; test_nll and test_ece of the ordinary prediction; mcnemar_p of the pair.

    Raises:
        InputError: the shapes do not belong together.
    """
    _require_labels(samples.shape[1:], labels)
    _require_labels(deterministic.shape, labels)
    mean = samples.mean(axis=0, dtype=np.float64)
    mc_correct = mean.argmax(axis=1) == labels
    correct = deterministic.argmax(axis=1) == labels
    return {
        "mc_accuracy": float(mc_correct.mean()),
        "mc_nll": negative_log_likelihood(mean, labels),
        "mc_ece": expected_calibration_error(mean, labels),
        "mc_gain": float(mc_correct.mean() - correct.mean()),
        "test_nll": negative_log_likelihood(deterministic, labels),
        "test_ece": expected_calibration_error(deterministic, labels),
        "mcnemar_p": mcnemar_exact(mc_correct, correct).p_value,
    }


def _require_labels(shape: tuple[int, ...], labels: npt.NDArray[np.integer]) -> None:
    """Refuse labels that do not number the classes of one prediction per image."""
    count, classes = shape if len(shape) == 2 else (0, 0)
    fits = labels.shape == (count,) and count > 0 and np.issubdtype(labels.dtype, np.integer)
    if not fits or labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            "labels",
            expected=f"integer classes of shape (n,) for probabilities of shape {shape}, n > 0",
            received=f"dtype {labels.dtype} of shape {labels.shape}"
            + (f", from {labels.min()} to {labels.max()}" if labels.size else ""),
            action="Pass one class number per image.",
        )
