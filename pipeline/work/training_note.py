"""The note of a training: what it came to and what its metrics are, links, the command for it."""

import math
from collections.abc import Mapping
from dataclasses import fields

from pipeline.base import markdown
from pipeline.comparisons import Variant
from pipeline.parameters import Searching, Training, declared
from pipeline.tracking import addresses, client
from pipeline.work.source import source_link
from pipeline.work.variant_step import VariantStep

FIGURES = ("confusion_matrix.png", "class_accuracy.png", "activations.png")


def training_note(
    step: VariantStep, run: client.Run, metrics: Mapping[str, float], *, seed: int, rate: float
) -> str:
    """The note of a training's run, as Markdown, given its final metrics and learning rate."""
    title = f"**{step.variant.name}** on {markdown.code(step.data.dataset)}, seed {seed}: "
    title += f"{step.variant.description}.{_begun(step.variant)}{_ended(step.variant, run)}"
    rows = [*_results(step.variant, metrics), *_rate(step, run, rate)]
    # The MLflow UI leaves no room between columns, and breaks what is narrow.
    unbroken = [(name, value.replace(" ", "&nbsp;"), what) for name, value, what in rows]
    table = [f"| `{name}`&emsp; | {value}&emsp; | {what} |" for name, value, what in unbroken]
    # What gives exactly this run, without a search and its parameters.
    ours = declared(Training)
    unused = {one.name: one.default for one in fields(Searching) if one.name not in ours}
    searched = {} if step.source else {**unused, "learning_rate": rate}
    again = step.again(**searched, seed=seed)
    parts = (
        title,
        "\n".join(["| | | |", "|---|---|---|", *table]),
        " · ".join(_links(run, metrics, of_pairs=step.variant.arms != "one")),
        f"Run again: {markdown.code(again)}",
    )
    return "\n\n".join(parts)


def _results(variant: Variant, metrics: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Metrics by name, with their value in its unit and what it is."""
    kept = f"the weights kept, of epoch {metrics['best_epoch']:.0f} of {metrics['epochs_run']:.0f}"
    loss, points = "cross-entropy per image", 100 * metrics.get("mc_gain", math.nan)
    chosen = "by which nothing was chosen"
    if variant.validated_on == "test":
        chosen = "BY WHICH THE EPOCH WAS CHOSEN, so that it flatters"
    gap = 100 * metrics.get("generalization_gap", math.nan)
    calibration = "expected calibration error: how far confidence and accuracy lie apart"
    of = {
        "test_accuracy": ("{:.2%}", f"of the test images, {chosen}"),
        "best_val_accuracy": ("{:.2%}", f"of the validation images, with {kept}"),
        "best_train_accuracy": ("{:.2%}", "of the training images, with the same weights"),
        "generalization_gap": (f"{gap:+.2f} points", "`best_train_accuracy` less `test_accuracy`"),
        "test_precision": ("{:.2%}", "of what is taken for a class, the mean over classes"),
        "test_loss": ("{:.4f} nats", f"{loss} of the test set"),
        "best_val_loss": ("{:.4f} nats", f"{loss} of the validation set"),
        "zero_weights": ("{:.2%}", "of the kernels' weights are 0"),
        "compressed_megabytes": ("{:.3g} MB", "the kernels as float32, compressed by zlib"),
        "highest_first_loss": ("{:.4g}", "the highest mean loss of 10 mini-batches at first"),
        "mc_accuracy": ("{:.2%}", "of the test images, with MC Dropout"),
        "mc_gain": (f"{points:+.2f} points", "`mc_accuracy` less `test_accuracy`"),
        "mc_nll": ("{:.4f} nats", f"{loss} of the test set, with MC Dropout"),
        "mc_ece": ("{:.2%}", f"{calibration}, with MC Dropout"),
        "test_ece": ("{:.2%}", "the same without"),
        "median_epoch_seconds": ("{:.4g} s", "the median time of an epoch, by the clock"),
        "median_epoch_cpu_seconds": ("{:.4g} s", "the same by the processor's time"),
        "train_seconds": ("{:.1f} s", "of all epochs, validation included; compiling is not"),
    }
    return [
        (name, text.format(metrics[name]), what)
        for name, (text, what) in of.items()
        if math.isfinite(metrics.get(name, math.nan))
    ]


def _rate(step: VariantStep, run: client.Run, rate: float) -> list[tuple[str, str, str]]:
    if not step.variant.epochs:
        return []
    how = "as given"
    if search := run.data.tags.get("search_run"):
        how = f"chosen by {_link('a search', run, search)}"
        if other := step.variant.learning_rate_of:
            how += f" for {markdown.code(other)}"
    most = ", the highest of its schedule" if step.variant.schedule != "constant" else ""
    return [("chosen_learning_rate", f"{rate:.6g}", how + most)]


def _begun(variant: Variant) -> str:
    """What a training goes on from, in a sentence."""
    if not variant.starts_from:
        return ""
    layers = f"{variant.reused_layers} hidden layer{'s'[: variant.reused_layers > 1]}"
    layers += " and the output" if variant.reused_output else ""
    frozen = f"{variant.frozen_layers or 'none'} frozen"
    return f" It goes on from {markdown.code(variant.starts_from)} with {layers}, {frozen}."


def _ended(variant: Variant, run: client.Run) -> str:
    """What is unlike other trainings in how one ended, in sentences."""
    said = ""
    if diverged := run.data.tags.get("diverged"):
        said += f" **It diverged:** {diverged} It is judged by the weights before."
    if variant.validated_on == "test":
        said += " **The test set decided when it stopped, in place of the validation set.**"
    return said


def _links(run: client.Run, metrics: Mapping[str, float], *, of_pairs: bool) -> list[str]:
    """Where else to look: the figures of the run, its data, and the command it was a part of."""
    drawn = {
        "learning_curve.png": metrics["epochs_run"],
        "first_epoch_losses.png": "highest_first_loss" in metrics,
        **dict.fromkeys(FIGURES, True),
        "pairs.png": of_pairs,
    }
    figures = [
        f"[{path.partition('.')[0].replace('_', ' ')}]({addresses.artifact_page(run, path)[1:]})"
        for path, is_there in drawn.items()
        if is_there
    ]
    tags = {"data": "prepare_run", "the comparison it was trained for": "pipeline_run"}
    others = [
        _link(text, run, run.data.tags[tag]) for text, tag in tags.items() if tag in run.data.tags
    ]
    return [*figures, *others, *filter(None, [source_link(run)])]


def _link(text: str, run: client.Run, run_id: str) -> str:
    """A link to another run of the experiment, whatever address the UI is served under."""
    return f"[{text}]({addresses.run_page(run.info.experiment_id, run_id)[1:]})"
