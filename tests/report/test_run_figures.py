"""What the figures of one run show: axes with units, lines, order, colours; saved as PNG."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT
from drawn import assert_saves_as_a_png_of_1200_pixels, labels_of, make_curve, xs, ys
from matplotlib.colors import same_color, to_hex
from matplotlib.text import Text

from pipeline.base import InputError
from pipeline.comparisons.colors import OKABE_ITO, PINK
from pipeline.report import run_figures

NAMES = ["cat", "dog", "ship"]
PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.9, 0.0], [0.3, 0.3, 0.4], [1.0, 0.0, 0.0]])
ENTROPY = np.array([1.03, 0.33, 1.09, 0.0])


def make_images(count, channels=3):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, 8, 8, channels), dtype=np.uint8)


def make_bins(confidence=(0.3, 0.9), accuracy=(0.2, 0.9), count=(10, 30)):
    return np.array(confidence), np.array(accuracy), np.array(count)


def sizes(axes):
    """Width and height of each bar, in data coordinates."""
    return np.array([(bar.get_width(), bar.get_height()) for bar in axes.patches])


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def make_layers(**changes):
    """Statistics of 20 layers, as a training logs them."""
    same = dict.fromkeys(("rank", "distinct_units", "gradient_norm"), [4.0] * 20)
    of = {"mean": np.linspace(0, 0.1, 20).tolist(), "dead_units": [0.0] * 20}
    return of | {"standard_deviation": np.linspace(1, 1.2, 20).tolist()} | same | changes


DRAWN = {
    "learning_curve": lambda: run_figures.learning_curve(make_curve(), 3, "elu", PINK),
    "layer_statistics": lambda: run_figures.layer_statistics(
        {"at initialisation": make_layers()}, "selu", PINK
    ),
    "sample_images": lambda: run_figures.sample_images(make_images(9), np.arange(9) % 3, NAMES),
    "pairs": lambda: run_figures.pairs(make_images(10).reshape(5, 2, 8, 8, 3), NAMES[:1] * 5),
    "confusion_matrix": lambda: run_figures.confusion_matrix(np.eye(3, dtype=int), NAMES, "elu"),
    "class_accuracy": lambda: run_figures.class_accuracy(
        np.array([0.5, 0.9, 0.7]), np.array([0.6, 0.8, 0.7]), NAMES, PINK
    ),
    "accuracy_by_samples": lambda: run_figures.accuracy_by_samples(np.array([0.4, 0.5]), 0.5, PINK),
    "uncertain_images": lambda: run_figures.uncertain_images(
        make_images(4), np.array([0, 1, 2, 0]), PROBABILITIES, ENTROPY, NAMES
    ),
    "reliability_diagram": lambda: run_figures.reliability_diagram(
        {"MC Dropout": make_bins()}, PINK
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_figure_saves_as_a_png_of_1200_pixels(name, tmp_path):
    assert_saves_as_a_png_of_1200_pixels(DRAWN[name](), tmp_path / "figure.png")


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_of_a_run_has_its_variants_colour_and_no_other(name):
    others = [color for color in OKABE_ITO if color not in (PINK, "#000000")]
    figures = DRAWN[name]().axes
    used = [line.get_color() for axes in figures for line in axes.lines]
    used += [to_hex(bar.get_facecolor()) for axes in figures for bar in axes.patches]
    assert not [one for one in used for color in others if same_color(one, color)]
    assert any(same_color(one, PINK) for one in used) == (
        name not in ("sample_images", "pairs", "confusion_matrix", "uncertain_images")
    )


@pytest.mark.parametrize("name", DRAWN)
def test_no_text_is_too_small_to_read_at_1200_pixels(name):
    texts = [text for text in DRAWN[name]().findobj(Text) if text.get_text()]
    assert min(float(text.get_fontsize()) for text in texts) * 150 / 72 >= 11


def test_figures_do_not_look_as_a_matplotlibrc_says(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 40\n")
    program = (
        "import matplotlib; before = dict(matplotlib.rcParams)\n"
        "from pipeline.report import run_figures\n"
        "for rc in (before, matplotlib.rcParams): print(rc['text.usetex'], rc['font.size'])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert ran.stdout == "True 40.0\nFalse 10.0\n", ran.stderr


def test_learning_curve_has_loss_and_accuracy_and_marks_the_best_epoch():
    figure = run_figures.learning_curve(make_curve(), 4, "elu, seed 1", PINK)
    loss, accuracy = figure.axes
    assert labels_of(loss) == ("Epoch", "Loss (nats per image)")
    assert labels_of(accuracy) == ("Epoch", "Accuracy (%)")
    assert legend_of(figure) == ["training", "validation", "best epoch, 4"]
    assert xs(loss.lines[2]) == [4, 4]
    assert ys(accuracy.lines[1])[0] == pytest.approx(5.0)  # percent
    assert figure.get_suptitle() == "elu, seed 1: validation accuracy 35.0% at epoch 4"


def test_learning_curve_draws_the_learning_rate_only_if_it_varies():
    rates = np.linspace(0.001, 0.01, 6)
    figure = run_figures.learning_curve(make_curve(learning_rate=rates), 4, "one_cycle", PINK)
    assert len(figure.axes) == 3
    assert labels_of(figure.axes[2]) == ("Epoch", "Learning rate")
    assert ys(figure.axes[2].lines[0]) == rates.tolist()


def test_layer_statistics_number_the_layers_from_one_and_mark_zero_and_one():
    layers = make_layers()
    moments = {"at initialisation": layers, "at the best epoch": layers}
    figure = run_figures.layer_statistics(moments, "selu", PINK)
    mean, deviation, rank, gradient = figure.axes
    assert [labels_of(axes) for axes in figure.axes] == [
        ("Hidden layer", "Mean activation"),
        ("Hidden layer", "Standard deviation of activations"),
        ("Hidden layer", "Rank of activations"),
        ("Hidden layer", "Gradient norm of the kernel"),
    ]
    assert legend_of(figure) == ["at initialisation", "at the best epoch"]
    assert xs(mean.lines[1]) == list(range(1, 21))
    assert ys(deviation.lines[2]) == layers["standard_deviation"]
    assert [ys(axes.lines[0])[0] for axes in (mean, deviation)] == [0, 1]
    assert ys(rank.lines[0]) == layers["rank"]
    assert gradient.get_yscale() == "linear"
    found = "standard deviation 1.20 in the last layer at the best epoch"
    assert figure.get_suptitle() == f"selu; {found}"
    assert rank.get_title() == ""


def test_gradients_that_vanish_are_drawn_by_powers_of_ten_and_dead_units_are_told():
    norms = [0.0, *np.logspace(0, -6, 19)]
    layers = make_layers(gradient_norm=norms, dead_units=[0.25] * 20)
    figure = run_figures.layer_statistics({"after training": layers}, "relu", PINK)
    assert figure.axes[3].get_yscale() == "symlog"
    assert ys(figure.axes[3].lines[0]) == norms
    assert figure.axes[2].get_title() == "25.0% of units dead after training"


def test_sample_images_has_a_titled_column_per_class_and_leaves_missing_ones_blank():
    images, labels = make_images(5), np.array([2, 0, 2, 0, 0])
    figure = run_figures.sample_images(images, labels, NAMES)
    assert [axes.get_title() for axes in figure.axes[:4]] == ["cat", "ship", "", ""]
    drawn = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert len(drawn) == 5
    expected = [images[place] for place in (1, 0, 3, 2, 4)]  # row by row: cat, ship, cat, ...
    assert all((a == b).all() for a, b in zip(drawn, expected, strict=True))


def test_sample_images_shows_grey_images_in_grey():
    figure = run_figures.sample_images(make_images(1, channels=1), np.array([1]), NAMES)
    (image,) = figure.axes[0].images
    assert image.get_size() == (8, 8)
    assert image.get_cmap().name == "gray"
    assert image.get_clim() == (0, 255)  # not stretched to the image's own range


def test_sample_images_stops_at_ten_classes_and_at_five_images_of_each():
    names = [f"class {k}" for k in range(100)]
    figure = run_figures.sample_images(make_images(100), np.arange(100), names)
    assert [axes.get_title() for axes in figure.axes] == names[:10]
    figure = run_figures.sample_images(make_images(7), np.zeros(7, int), NAMES)
    assert sum(bool(axes.images) for axes in figure.axes) == 5


def test_uncertain_images_come_most_uncertain_first_with_their_two_best_guesses():
    figure = DRAWN["uncertain_images"]()
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == [
        "ship, recognised (40%)",
        "cat, recognised (50%)",
        "dog, recognised (90%)",
        "cat, recognised (over 99%)",
    ]
    assert figure.axes[0].get_xlabel() == "next cat (30%)\nentropy 1.09 nats"


def test_uncertain_images_say_what_is_wrong_in_words_and_break_long_names():
    labels, names = np.array([1, 1, 2, 0]), ["cat", "a class whose name is long", "ship"]
    figure = run_figures.uncertain_images(make_images(4), labels, PROBABILITIES, ENTROPY, names)
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles[1] == "a class whose name is\nlong, taken for cat (50%)"
    assert figure.get_suptitle().endswith(": 75% of these 4 are recognised")


def test_uncertain_images_stop_at_twelve():
    many, labels = np.resize(PROBABILITIES, (13, 3)), np.zeros(13, int)
    figure = run_figures.uncertain_images(make_images(13), labels, many, np.ones(13), NAMES)
    assert sum(bool(axes.images) for axes in figure.axes) == 12


def test_confusion_matrix_has_counts_and_shares_of_the_true_class():
    matrix = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])  # the last class has no images
    axes, color_bar = run_figures.confusion_matrix(matrix, NAMES, "bn").axes
    texts = [text.get_text() for text in axes.texts]
    assert texts[:5] == ["3\n75%", "1\n25%", "0\n0%", "0\n0%", "2\n100%"]
    assert texts[8] == "0\n0%"
    assert labels_of(axes) == ("Predicted class", "True class")
    assert color_bar.get_ylabel() == "Share of the true class (%)"
    assert axes.get_title() == "bn\nmost often cat is taken for dog (25%)"


def test_confusion_matrix_of_a_model_that_is_always_right_names_no_confusion():
    axes, _ = run_figures.confusion_matrix(np.eye(3, dtype=int), NAMES, "bn").axes
    assert axes.get_title() == "bn"


def test_confusion_matrix_of_100_classes_has_no_numbers():
    names = [f"class {k}" for k in range(100)]
    axes, _ = run_figures.confusion_matrix(np.eye(100, dtype=int), names, "bn").axes
    assert len(axes.texts) == 0
    assert len(axes.get_xticks()) == 25


def test_class_accuracy_is_sorted_with_a_class_without_images_last():
    accuracies, precisions = np.array([0.5, float("nan"), 0.75]), np.array([1.0, 0.0, 0.5])
    figure = run_figures.class_accuracy(accuracies, precisions, NAMES, PINK)
    (axes,) = figure.axes
    assert figure.get_suptitle() == "Best recognised ship 75.0%, worst cat 50.0%"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["ship", "cat", "dog"]
    assert sizes(axes)[:, 0].tolist() == [75.0, 50.0, 0.0, 50.0, 100.0, 0.0]
    texts = ["75.0%", "50.0%", "", "50.0%", "100.0%", "0.0%"]
    assert [text.get_text() for text in axes.texts] == texts
    means = ["mean accuracy, 62.5%", "mean precision, 50.0%"]
    assert legend_of(figure) == [*means, "accuracy", "precision"]
    assert [xs(line)[0] for line in axes.lines] == [62.5, 50.0]


def test_wrong_pairs_have_a_mark_and_a_frame():
    figure = run_figures.pairs(make_images(4).reshape(2, 2, 8, 8, 3), ["same", "other"], wrong=[1])
    right, wrong, *_ = figure.axes
    assert [axes.get_title() for axes in (right, wrong)] == ["same", "\u2715 other"]
    assert [axes.get_frame_on() for axes in (right, wrong)] == [False, True]


def test_accuracy_by_samples_counts_from_one_beside_the_deterministic_accuracy():
    figure = run_figures.accuracy_by_samples(np.array([0.4, 0.45, 0.5]), 0.48, PINK)
    (axes,) = figure.axes
    samples, deterministic = axes.lines
    assert xs(samples) == [1, 2, 3]
    assert ys(samples) == pytest.approx([40, 45, 50])
    assert ys(deterministic)[0] == pytest.approx(48)
    assert labels_of(axes) == ("Number of samples averaged", "Test accuracy (%)")


def test_reliability_diagram_has_a_panel_per_model_with_its_calibration_error():
    nan = float("nan")
    empty_bin = make_bins((0.5, nan, 0.9), (0.3, nan, 0.8), (10, 0, 30))
    figure = run_figures.reliability_diagram({"plain": make_bins(), "MC": empty_bin}, PINK)
    plain, mc, counts, _ = figure.axes
    assert plain.get_title() == "plain: calibration error 2.5%"  # 10 of 40 are 10 points off
    assert mc.get_title() == "MC: calibration error 12.5%"  # (10 * 20 + 30 * 10) / 40
    assert xs(mc.lines[1]) == pytest.approx([50, 90])
    assert plain.get_ylabel() == "Accuracy (%)"
    assert labels_of(counts) == ("Confidence (%)", "Predictions")
    assert sizes(counts)[:, 1].tolist() == [10, 30]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: run_figures.learning_curve(make_curve(epochs=0), 1, "elu", PINK),
        lambda: run_figures.layer_statistics({}, "selu", PINK),
        lambda: run_figures.layer_statistics({"now": make_layers(rank=[1.0])}, "selu", PINK),
        lambda: run_figures.sample_images(make_images(0), np.array([]), NAMES),
        lambda: run_figures.sample_images(make_images(2), np.array([1]), NAMES),
        lambda: run_figures.confusion_matrix(np.eye(2), NAMES, "elu"),
        lambda: run_figures.confusion_matrix(np.zeros((0, 0)), [], "elu"),
        lambda: run_figures.class_accuracy(np.array([0.5]), np.array([0.5]), NAMES, PINK),
        lambda: run_figures.pairs(np.zeros((2, 2, 8, 8, 1)), ["same"]),
        lambda: run_figures.accuracy_by_samples(np.array([]), 0.5, PINK),
        lambda: run_figures.uncertain_images(
            make_images(3), np.zeros(3, int), PROBABILITIES, ENTROPY, NAMES
        ),
        lambda: run_figures.reliability_diagram({}, PINK),
        lambda: run_figures.reliability_diagram({"MC": make_bins(count=(1, 2, 3))}, PINK),
    ],
)
def test_refused_input(draw):
    with pytest.raises(InputError, match=r"expected .*; received"):
        draw()


@pytest.mark.parametrize("channels", [1, 3])
def test_pairs_are_shown_side_by_side_with_white_between_them(channels):
    images = make_images(10, channels).reshape(5, 2, 8, 8, channels)
    titles = ["same", "different", "same", "different, taken for same (over 99%)", "US$ 1 = US$ 1"]
    figure = run_figures.pairs(images, titles, "Some pairs")
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title().replace("\n", " ") for axes in shown] == titles
    assert figure.get_suptitle() == "Some pairs"
    for axes, pair in zip(shown, images, strict=True):
        (drawn,) = axes.images
        pixels = np.asarray(drawn.get_array()).reshape(8, 17, channels)
        np.testing.assert_array_equal(pixels[:, :8], pair[0])
        assert (pixels[:, 8] == 255).all()
        np.testing.assert_array_equal(pixels[:, 9:], pair[1])


def test_uncertain_pairs_are_shown_side_by_side():
    images = make_images(8).reshape(4, 2, 8, 8, 3)
    labels = np.array([0, 1, 1, 0])
    figure = run_figures.uncertain_images(
        images, labels, PROBABILITIES[:, :2], ENTROPY, ["different", "same"]
    )
    assert [np.asarray(axes.images[0].get_array()).shape for axes in figure.axes] == [
        (8, 17, 3)
    ] * 4
