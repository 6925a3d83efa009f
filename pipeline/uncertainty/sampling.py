"""MC Dropout: class probabilities under random dropout masks, and how uncertain they are.

TensorFlow is imported by the functions that take a model.

Source: Gal and Ghahramani (2016), "Dropout as a Bayesian Approximation: Representing Model
Uncertainty in Deep Learning", ICML, section 4: T stochastic forward passes.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..base.errors import InputError

if TYPE_CHECKING:
    import keras

    Step: TypeAlias = tuple[keras.Operation, Any]  # layers are operations


def dropout_layers(model: "keras.Model") -> list["keras.Layer"]:
    """The layers of a model, not of those nested in it, that drop something: at a rate above 0."""
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
    """Class probabilities under random dropout masks, (samples, n, classes), from a trained model.

    Only the dropout layers are random: every other layer runs in inference mode, so batch
    normalisation uses its moving averages and leaves them alone. Each image has its own mask in
    each sample and each layer. What comes before the first dropout layer is computed once per
    image. The model, including the state of its seed generators, is left untouched.

    Args:
        model: layers that are each applied once, from one input to one output, probabilities.
        images: shape (n, ...), of the shape and a dtype that the model's input takes.
        samples: how many times each image is predicted.
        seed: 0 or above; decides every bit, for the same images and batch size.
        batch_size: images per step; bounds the memory.

    Raises:
        InputError: the model has no dropout layers or applies layers in another way, the images
            do not fit its input, or a number is out of range.
    """
    minima = (("samples", samples, 1), ("batch_size", batch_size, 1), ("seed", seed, 0))
    for name, value, minimum in minima:
        if value < minimum:
            expected, action = f"an integer of {minimum} or more", f"Choose a larger {name}."
            raise InputError(name, expected=expected, received=repr(value), action=action)
    sample_batch = sampler(model, seed=seed)
    images = _fit_input(model, images)
    probabilities = np.empty((samples, len(images), model.output_shape[-1]), np.float32)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        probabilities[:, start : start + len(batch)] = sample_batch(batch, samples)
    return probabilities


def predictive_entropy(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """How undecided each of (n, classes) is, in nats: 0 for certainty, ln(classes) for no idea."""
    from scipy.special import entr  # SciPy takes a second, which a rerun with nothing to do saves

    return entr(probabilities.astype(np.float64)).sum(axis=-1)


def mutual_information(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """How much of the uncertainty the masks cause (epistemic), (n,), in nats.

    The entropy of the mean prediction less the mean entropy of the samples, (samples, n, classes).

    Source: Houlsby et al. (2011), "Bayesian Active Learning for Classification and Preference
    Learning", equation 2.
    """
    total = predictive_entropy(samples.mean(axis=0, dtype=np.float64))
    within = np.mean([predictive_entropy(sample) for sample in samples], axis=0)
    return np.maximum(total - within, 0.0)  # Never negative but for rounding.


def _steps(model: "keras.Model") -> list["Step"]:
    """The model's layers and operations in the order they are applied, input layer aside.

    With each, the number of the tensor that it is given, or a list of them: 0 is the input, and
    from 1 the output of each layer.
    """
    import keras

    subject = f"model {model.name!r}"
    if not dropout_layers(model):
        expected = "at least one dropout layer with a rate above 0"
        received = "a model that has no dropout layers, so MC Dropout cannot vary it"
        action = "Train a variant with dropout, such as alpha_dropout."
        raise InputError(subject, expected=expected, received=received, action=action)
    own = model.layers if isinstance(model, keras.Sequential) else model.operations
    layers = [layer for layer in own if not isinstance(layer, keras.layers.InputLayer)]
    broken = [layer for layer in layers if isinstance(layer, keras.Model)]
    if isinstance(model, keras.Sequential) and not broken:
        return list(zip(layers, range(len(layers)), strict=True))
    tensors = [*model.inputs, *(layer.output for layer in layers)]
    number_of = {id(tensor): number for number, tensor in enumerate(tensors)}
    steps = [
        (layer, keras.tree.map_structure(lambda tensor: number_of.get(id(tensor)), layer.input))
        for layer in layers
    ]
    broken += [layer for layer, given in steps if None in keras.tree.flatten(given)]
    broken += [layer for layer in layers if not _takes_its_input_alone(layer)]
    broken += [] if [*map(id, model.outputs)] == [id(tensors[-1])] else layers[-1:]
    if broken or len(model.inputs) > 1:
        expected = "layers that are each applied once, from one input to one output"
        received = f"a graph that does more than that at {(broken or layers)[0].name!r}"
        action = "Build the model without repeated layers, nested models or constants."
        raise InputError(subject, expected=expected, received=received, action=action)
    return steps


def _takes_its_input_alone(operation: "keras.Operation") -> bool:
    """Whether an operation has no argument besides tensors, such as the 2 of `tensor * 2`."""
    import keras

    if isinstance(operation, keras.Layer):
        return True
    try:
        operation.compute_output_spec(operation.input)
    except TypeError:
        return False
    return True


def _fit_input(model: "keras.Model", images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The images in the dtype of the model's input, refused where that would change them."""
    shape, dtype = tuple(model.input_shape[1:]), np.dtype(model.inputs[0].dtype)
    sizes = zip(shape, images.shape[1:], strict=False)
    fits = images.ndim == len(shape) + 1 and all(wanted in (None, size) for wanted, size in sizes)
    # "same_kind" lets float64 become float32, but not images scaled to [0, 1] become all 0.
    if not fits or not np.can_cast(images.dtype, dtype, casting="same_kind"):
        expected = f"shape (n, {', '.join(map(str, shape))}) and dtype {dtype}"
        received = f"shape {images.shape} and dtype {images.dtype}"
        action = "Pass images as the model was trained on, before any scaling."
        raise InputError("images", expected=expected, received=received, action=action)
    return images.astype(dtype, copy=False)


def sampler(model: "keras.Model", *, seed: int) -> Callable[..., Any]:
    """From a batch of images and a number to as many samples, (samples, batch, classes).

    Every call has other masks; model and seed as in `mc_probabilities`.
    """
    import keras
    import tensorflow as tf

    steps = _steps(model)
    dropouts = dropout_layers(model)
    # Copies, so that the originals' state stays as it is, and each with a seed of its own: the
    # layers' own would not do, for with one for all of them the masks would be the same.
    seeds = np.random.SeedSequence(seed).generate_state(len(dropouts)).tolist()
    copies = {
        layer: type(layer).from_config({**layer.get_config(), "seed": own_seed})
        for layer, own_seed in zip(dropouts, seeds, strict=True)
    }
    first = next(index for index, (layer, _) in enumerate(steps) if layer in copies)

    def apply(part: list["Step"], tensors: list[Any]) -> list[Any]:
        for layer, given in part:
            inputs = keras.tree.map_structure(tensors.__getitem__, given)
            mode = {"training": layer in copies} if isinstance(layer, keras.Layer) else {}
            tensors = [*tensors, copies.get(layer, layer)(inputs, **mode)]
        return tensors

    # Not jit_compile: on a CPU, XLA takes some 30 times as long to draw masks inside a loop.
    image = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)

    @tf.function(input_signature=[image, tf.TensorSpec((), tf.int32)])
    def sample_batch(images: Any, samples: Any) -> Any:
        features = apply(steps[:first], [images])
        return tf.map_fn(
            lambda _: tf.cast(apply(steps[first:], features)[-1], tf.float32),
            tf.range(samples),
            parallel_iterations=1,
            fn_output_signature=tf.float32,
        )

    return sample_batch
