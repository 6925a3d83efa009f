"""What the figures show: axes with units, lines, colours, order; and that they save as PNG."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.image import imread

from pipeline import figures
from pipeline.errors import InputError

COLORS = {"elu": "#0072B2", "bn": "#D55E00"}
NAMES = ["cat", "dog", "ship"]


def make_curve(variant="elu", seed=1, epochs=6, learning_rate=0.001, offset=0.0):
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {
            "run_id": f"{variant}-{seed}",
            "variant": variant,
            "seed": seed,
            "epoch": epoch,
            "loss": 2.0 / epoch + offset,
            "accuracy": 0.5 - 0.4 / epoch,
            "val_loss": 2.1 / epoch + offset,
            "val_accuracy": 0.45 - 0.4 / epoch,
            "learning_rate": learning_rate,
            "epoch_seconds": 2.0,
            "elapsed_seconds": 2.0 * epoch,
        }
    )


def make_images(count, channels=3):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, 8, 8, channels), dtype=np.uint8)


def make_bins(confidence=(0.3, 0.9), accuracy=(0.2, 0.9), count=(10, 30)):
    return np.array(confidence), np.array(accuracy), np.array(count)


def xs(line):
    return np.asarray(line.get_xdata()).tolist()


def ys(line):
    return np.asarray(line.get_ydata()).tolist()


def sizes(axes):
    """Width and height of each bar, in data coordinates."""
    return np.array([(bar.get_width(), bar.get_height()) for bar in axes.patches])


def labels_of(axes):
    return axes.get_xlabel(), axes.get_ylabel()


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.9, 0.0], [0.3, 0.3, 0.4], [1.0, 0.0, 0.0]])
ENTROPY = np.array([1.03, 0.33, 1.09, 0.0])

DRAWN = {
    "sample_images": lambda: figures.sample_images(make_images(9), np.arange(9) % 3, NAMES),
    "learning_curve": lambda: figures.learning_curve(make_curve(), 3, "elu"),
    "comparison_curves": lambda: figures.comparison_curves(make_curve(), COLORS),
    "epoch_seconds": lambda: figures.epoch_seconds(make_curve(), COLORS),
    "confusion_matrix": lambda: figures.confusion_matrix(np.eye(3, dtype=int), NAMES, "elu"),
    "class_accuracy": lambda: figures.class_accuracy(np.array([0.5, 0.9, 0.7]), NAMES),
    "activation_statistics": lambda: figures.activation_statistics(
        {"at initialisation": (np.zeros(20), np.ones(20))}, "selu"
    ),
    "accuracy_by_samples": lambda: figures.accuracy_by_samples(np.array([0.4, 0.5]), 0.5),
    "uncertain_images": lambda: figures.uncertain_images(
        make_images(4), np.array([0, 1, 2, 0]), PROBABILITIES, ENTROPY, NAMES
    ),
    "reliability_diagram": lambda: figures.reliability_diagram({"MC Dropout": make_bins()}),
}


@pytest.mark.parametrize("name", DRAWN)
def test_figure_saves_as_a_png_of_1200_pixels(name, tmp_path):
    figure = DRAWN[name]()
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "figure.png")
    pixels = imread(tmp_path / "figure.png")
    assert pixels.shape[1] == 1200
    assert pixels[0, 0].tolist() == [1, 1, 1, 1]  # a light background
    assert (pixels[..., :3] < 0.9).any(axis=-1).sum() > 1000  # and something drawn on it


# Images


def test_sample_images_has_a_titled_column_per_class_and_leaves_missing_ones_blank():
    images, labels = make_images(6), np.array([2, 0, 2, 0, 0, 2])
    figure = figures.sample_images(images, labels, NAMES, rows=2)
    assert [axes.get_title() for axes in figure.axes[:4]] == ["cat", "ship", "", ""]
    drawn = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert len(drawn) == 4
    expected = [images[1], images[0], images[3], images[2]]  # row by row: cat, ship, cat, ship
    assert all((a == b).all() for a, b in zip(drawn, expected, strict=True))


def test_sample_images_shows_grey_images_in_grey():
    figure = figures.sample_images(make_images(1, channels=1), np.array([1]), NAMES)
    (image,) = figure.axes[0].images
    assert image.get_size() == (8, 8)
    assert image.get_cmap().name == "gray"
    assert image.get_clim() == (0, 255)  # not stretched to the image's own range


def test_sample_images_stops_at_the_number_of_columns():
    figure = figures.sample_images(
        make_images(100), np.arange(100), [f"class {k}" for k in range(100)], columns=10
    )
    assert [axes.get_title() for axes in figure.axes] == [f"class {k}" for k in range(10)]


def test_uncertain_images_come_most_uncertain_first_with_their_two_best_guesses():
    figure = DRAWN["uncertain_images"]()
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == [
        "true: ship\nship 40%, cat 30%",
        "true: cat\ncat 50%, dog 30%",
        "true: dog\ndog 90%, cat 10%",
        "true: cat\ncat 100%, dog 0%",
    ]
    assert figure.axes[0].texts[0].get_text() == "entropy 1.09 nats"


def test_uncertain_images_tell_right_from_wrong_by_colour_and_stop_at_the_count():
    figure = figures.uncertain_images(
        make_images(4), np.array([1, 1, 2, 0]), PROBABILITIES, ENTROPY, NAMES, count=2
    )
    right, wrong = (axes.title.get_color() for axes in figure.axes if axes.images)
    assert same_color(right, figures.BLUE)
    assert same_color(wrong, figures.VERMILLION)


# Curves


def test_learning_curve_has_loss_and_accuracy_and_marks_the_best_epoch():
    figure = figures.learning_curve(make_curve(), 4, "elu, seed 1")
    loss, accuracy = figure.axes
    assert labels_of(loss) == ("Epoch", "Loss (nats per image)")
    assert labels_of(accuracy) == ("Epoch", "Accuracy (%)")
    assert legend_of(figure) == ["training", "validation", "best epoch, 4"]
    assert xs(loss.lines[2]) == [4, 4]
    assert ys(accuracy.lines[1])[0] == pytest.approx(5.0)  # percent
    assert figure.get_suptitle() == "elu, seed 1"


def test_learning_curve_draws_the_learning_rate_only_if_it_varies():
    rates = np.linspace(0.001, 0.01, 6)
    figure = figures.learning_curve(make_curve(learning_rate=rates), 4, "one_cycle")
    assert len(figure.axes) == 3
    assert labels_of(figure.axes[2]) == ("Epoch", "Learning rate")
    assert ys(figure.axes[2].lines[0]) == rates.tolist()


def test_comparison_over_epochs_averages_as_far_as_all_seeds_go():
    curves = pd.concat(
        [make_curve(seed=1, epochs=4), make_curve(seed=2, epochs=6, offset=0.2), make_curve("bn")]
    )
    figure = figures.comparison_curves(curves, COLORS)
    loss, accuracy = figure.axes
    assert labels_of(loss) == ("Epoch", "Validation loss (nats per image)")
    assert labels_of(accuracy) == ("Epoch", "Validation accuracy (%)")
    assert legend_of(figure) == ["elu", "bn"]
    tail, elu, bn = loss.lines  # the tail is the seed that went on alone
    assert xs(elu) == [1, 2, 3, 4]
    assert ys(elu) == pytest.approx(2.1 / np.arange(1, 5) + 0.1)
    assert np.isfinite(ys(tail)).sum() == 3
    assert xs(bn) == [1, 2, 3, 4, 5, 6]
    assert same_color(elu.get_color(), COLORS["elu"])
    assert same_color(bn.get_color(), COLORS["bn"])
    (band,) = loss.collections  # one seed has no band
    edges = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert (edges.min(), edges.max()) == pytest.approx((2.1 / 4, 2.1 + 0.2))


def test_comparison_over_seconds_has_a_line_per_seed_and_a_legend_entry_per_variant():
    curves = pd.concat([make_curve(seed=1), make_curve(seed=2), make_curve("bn")])
    figure = figures.comparison_curves(curves, COLORS, x="elapsed_seconds")
    loss = figure.axes[0]
    assert loss.get_xlabel() == "Training time (s)"
    assert len(loss.lines) == 3
    assert xs(loss.lines[0]) == [2, 4, 6, 8, 10, 12]
    assert legend_of(figure) == ["elu", "bn"]


def test_comparison_shows_a_run_of_one_epoch_as_a_dot():
    figure = figures.comparison_curves(make_curve(epochs=1), COLORS)
    assert figure.axes[0].lines[0].get_marker() == "o"


def test_comparison_is_not_flattened_by_a_wild_loss():
    curve = make_curve(epochs=100)
    curve.loc[50, "val_loss"] = 1e6
    curve.loc[51, "val_loss"] = float("inf")
    figure = figures.comparison_curves(curve, COLORS)
    assert figure.axes[0].get_ylim()[1] < 10


def test_a_variant_without_a_colour_is_grey():
    figure = figures.comparison_curves(make_curve("new"), COLORS)
    assert same_color(figure.axes[0].lines[0].get_color(), figures.GREY)


def test_epoch_seconds_has_a_row_per_variant_from_zero_and_counts_what_it_leaves_out():
    curves = pd.concat([make_curve(), make_curve("bn")])
    curves.loc[(curves["variant"] == "bn") & (curves["epoch"] == 1), "epoch_seconds"] = 30.0
    (axes,) = figures.epoch_seconds(curves, COLORS).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["elu", "bn"]
    assert axes.get_xlim() == pytest.approx((0, 3.2))
    assert axes.get_xlabel() == "Time per epoch (s), with the median; 1 longer epochs off the scale"
    elu, bn = axes.collections
    assert np.shape(elu.get_offsets()) == np.shape(bn.get_offsets()) == (6, 2)
    assert same_color(tuple(np.ravel(bn.get_facecolor())[:3]), COLORS["bn"])


# Classes


def test_confusion_matrix_has_counts_and_shares_of_the_true_class():
    matrix = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])  # the last class has no images
    axes, color_bar = figures.confusion_matrix(matrix, NAMES, "bn").axes
    texts = [text.get_text() for text in axes.texts]
    assert texts[:5] == ["3\n75%", "1\n25%", "0\n0%", "0\n0%", "2\n100%"]
    assert texts[8] == "0\n0%"
    assert labels_of(axes) == ("Predicted class", "True class")
    assert color_bar.get_ylabel() == "Share of the true class (%)"


def test_confusion_matrix_of_100_classes_has_no_numbers():
    names = [f"class {k}" for k in range(100)]
    axes, _ = figures.confusion_matrix(np.eye(100, dtype=int), names, "bn").axes
    assert len(axes.texts) == 0
    assert len(axes.get_xticks()) == 25


def test_class_accuracy_is_sorted_with_a_class_without_images_last():
    accuracies = np.array([0.5, float("nan"), 0.75])
    (axes,) = figures.class_accuracy(accuracies, NAMES).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["ship", "cat", "dog"]
    assert sizes(axes)[:, 0].tolist() == [75.0, 50.0, 0.0]
    assert [text.get_text() for text in axes.texts] == ["75.0%", "50.0%", ""]
    assert xs(axes.lines[0])[0] == 62.5
    assert axes.get_xlabel() == "Accuracy within the class (%)"


# Activations and uncertainty


def test_activation_statistics_number_the_layers_from_one_and_mark_zero_and_one():
    means, deviations = np.linspace(0, 0.1, 20), np.linspace(1, 1.2, 20)
    figure = figures.activation_statistics(
        {"at initialisation": (means, deviations), "at the best epoch": (means, deviations)},
        "selu",
    )
    left, right = figure.axes
    assert labels_of(left) == ("Hidden layer", "Mean activation")
    assert labels_of(right) == ("Hidden layer", "Standard deviation of activations")
    assert legend_of(figure) == ["at initialisation", "at the best epoch"]
    assert xs(left.lines[0]) == list(range(1, 21))
    assert ys(right.lines[1]) == deviations.tolist()
    assert [ys(axes.lines[2])[0] for axes in (left, right)] == [0, 1]


def test_accuracy_by_samples_counts_from_one_beside_the_deterministic_accuracy():
    figure = figures.accuracy_by_samples(np.array([0.4, 0.45, 0.5]), 0.48)
    (axes,) = figure.axes
    samples, deterministic = axes.lines
    assert xs(samples) == [1, 2, 3]
    assert ys(samples) == pytest.approx([40, 45, 50])
    assert ys(deterministic)[0] == pytest.approx(48)
    assert labels_of(axes) == ("Number of samples averaged", "Accuracy (%)")


def test_reliability_diagram_has_a_panel_per_model_with_its_calibration_error():
    nan = float("nan")
    empty_bin = make_bins((0.5, nan, 0.9), (0.3, nan, 0.8), (10, 0, 30))
    figure = figures.reliability_diagram({"plain": make_bins(), "MC": empty_bin})
    plain, mc, counts, _ = figure.axes
    assert plain.get_title() == "plain: calibration error 2.5%"  # 10 of 40 are 10 points off
    assert mc.get_title() == "MC: calibration error 12.5%"  # (10 * 20 + 30 * 10) / 40
    assert xs(mc.lines[1]) == pytest.approx([50, 90])
    assert plain.get_ylabel() == "Accuracy (%)"
    assert labels_of(counts) == ("Confidence (%)", "Predictions")
    assert sizes(counts)[:, 1].tolist() == [10, 30]


# What cannot be drawn


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.sample_images(make_images(0), np.array([]), NAMES),
        lambda: figures.sample_images(make_images(2), np.array([1]), NAMES),
        lambda: figures.learning_curve(make_curve(epochs=0), 1, "elu"),
        lambda: figures.comparison_curves(make_curve(epochs=0), COLORS),
        lambda: figures.comparison_curves(make_curve(), COLORS, x="loss"),
        lambda: figures.epoch_seconds(make_curve(epochs=0), COLORS),
        lambda: figures.confusion_matrix(np.eye(2), NAMES, "elu"),
        lambda: figures.confusion_matrix(np.zeros((0, 0)), [], "elu"),
        lambda: figures.class_accuracy(np.array([0.5]), NAMES),
        lambda: figures.activation_statistics({}, "selu"),
        lambda: figures.activation_statistics({"now": (np.zeros(2), np.ones(3))}, "selu"),
        lambda: figures.accuracy_by_samples(np.array([]), 0.5),
        lambda: figures.uncertain_images(
            make_images(3), np.zeros(3, int), PROBABILITIES, ENTROPY, NAMES
        ),
        lambda: figures.reliability_diagram({}),
        lambda: figures.reliability_diagram({"MC": make_bins(count=(1, 2, 3))}),
    ],
)
def test_refused_input(draw):
    with pytest.raises(InputError, match=r"expected .*; received"):
        draw()
