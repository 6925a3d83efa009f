"""The model registry: every variant's best run as a version, the best model as the champion.

Validation chooses, the test set reports: the best seed of every variant, and the challenger, are
those with the highest validation accuracy. The challenger takes the title where a verdict calls its
variant better than the champion's. Where no question was asked about the two, or both are of one
variant, the models are tested on the validation images, by what their runs have logged: no model is
loaded.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import mlflow
import pandas as pd
from mlflow.entities.model_registry import ModelVersion

from pipeline.answers import sentences
from pipeline.answers.headlines import Headline
from pipeline.base import InputError, markdown
from pipeline.comparing import predictions
from pipeline.comparisons import Comparison
from pipeline.tracking import addresses, client
from pipeline.work.trained_model import WEIGHTS_FILE, logged_model
from pipeline.work.variant_step import logged_labels

CHAMPION = "champion"
_METRIC = "best_val_accuracy"  # of the weights that a run kept, as `compare` names it
_BEST = "the best run of the variant with the highest mean validation accuracy over its seeds"
_STILL = f"it is still {_BEST}"
_OPENING = "The best run of every variant, by validation accuracy."  # of a description made here
_WRITTEN = "twenty_layers.written"  # a digest of that
_DESCRIPTION = """\
{opening} All are trained on {dataset}.

**Champion: {champion}.** {reason}.

It takes raw {images}, and gives class probabilities:

```python
model = mlflow.pyfunc.load_model("models:/{name}@champion")
probabilities = model.predict(images)
```
"""
_IMAGES = "images, as uint8 of shape (n, height, width, channels)"
_PAIRS = "pairs of images, as uint8 of shape (n, 2, height, width, channels)"


class Registration(NamedTuple):
    """What `register` did."""

    name: str  # of the registered model
    versions: Mapping[str, int]  # of each variant's best run, by variant
    champion: int  # the version that holds the alias `champion` now
    holder: str  # that version with its variant, in words
    replaced: bool  # whether it got the alias now
    reason: str  # why, or why not
    text: str  # all of it, as Markdown for a note of the MLflow UI


_Verdict = tuple[bool, str]  # whether the challenger wins, and why


class _Test(NamedTuple):
    """Two models on the validation images."""

    ours: float  # the accuracy of the challenger
    theirs: float
    images: int
    p_value: float  # two-sided
    how: str  # it was tested, in words


def registered_model_name(dataset: str, comparison: Comparison | None = None) -> str:
    """The registered model for a data set; what its name cannot have becomes a hyphen.

    Comparisons on all of it share one; one that chooses from it, or pairs it, has its own.
    """
    name = f"twenty-layers-{re.sub(r'[^A-Za-z0-9_.-]+', '-', dataset).strip('-.') or 'data'}"
    return f"{name}-{comparison.name}" if comparison and comparison.data.selection else name


def register(
    runs: pd.DataFrame,
    data: Mapping[str, str],
    headlines: Sequence[Headline] = (),
    comparison: Comparison | None = None,
) -> Registration:
    """Register each variant's best run, and make the best model champion if it is better.

    A run is registered once: doing it again changes nothing.

    Args:
        runs: as in `summary.with_convergence`.
        data: the dataset, data_fingerprint and prepare_run of what all of them were trained on; a
            champion of other data is not challenged.
        headlines: of the comparison of the runs.
        comparison: that one, where it matters what it chooses from the data set.

    Raises:
        InputError: a run to be registered has no model.
    """
    runs = runs.dropna(subset=[_METRIC])  # A run that diverged has none.
    runs = runs.sort_values("seed", kind="stable")  # Of equal runs, always the same one.
    name, connection = registered_model_name(data["dataset"], comparison), client.connect()
    try:
        connection.create_registered_model(name)
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    by_variant = runs.groupby("variant", sort=False)[_METRIC]
    best_runs = runs.loc[by_variant.idxmax()].to_dict("records")
    versions = {run["variant"]: _registered(name, run, data) for run in best_runs}
    challenger = versions[by_variant.mean().idxmax()]
    held = connection.get_registered_model(name).aliases.get(CHAMPION)
    holder = connection.get_model_version(name, held) if held else None
    wins, reason = _contest(challenger, holder, runs, data["prepare_run"], headlines)
    if wins:
        connection.set_registered_model_alias(name, CHAMPION, challenger.version)
    champion = challenger if wins or holder is None else holder
    images = _PAIRS if comparison and comparison.data.pairs else _IMAGES
    _describe(name, champion, reason, dataset=markdown.code(data["dataset"]), images=images)
    numbers = {variant: int(version.version) for variant, version in versions.items()}
    text = _text(name, champion, reason, list(versions.values()))
    return Registration(name, numbers, int(champion.version), _who(champion), wins, reason, text)


def _describe(name: str, champion: ModelVersion, reason: str, **of_data: str) -> None:
    """Say what the registered model is and who is champion; what a person wrote of it stays."""
    connection = client.connect()
    model = connection.get_registered_model(name)
    found, written = model.description or "", model.tags.get(_WRITTEN)
    if found and not (written == _digest(found) if written else found.startswith(_OPENING)):
        return
    number, variant = champion.version, champion.tags.get("variant")
    title = f"[version {number}](#/models/{name}/versions/{number}) (`{variant}`)"
    if reason == _STILL and title in found:  # which says why it became champion
        return
    description = _DESCRIPTION.format(
        opening=_OPENING,
        champion=title,
        reason=f"{reason[0].upper()}{reason[1:]}",
        name=name,
        **of_data,
    )
    if found != description:
        connection.update_registered_model(name, description)
        connection.set_registered_model_tag(name, _WRITTEN, _digest(description))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _registered(name: str, run: Mapping[Hashable, Any], data: Mapping[str, str]) -> ModelVersion:
    """The version of a run, made now if there is none."""
    connection, run_id = client.connect(), run["run_id"]
    if found := connection.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
        return found[0]
    trained = client.get_run(run_id)
    model_id = logged_model(trained).model_id
    page = addresses.run_page(trained.info.experiment_id, run_id)[1:]
    description = (
        f"{run['variant']}, seed {run['seed']}: {run[_METRIC]:.2%} of the validation images right, "
        f"{run['test_accuracy']:.2%} of the test images. [Its training]({page}) on "
        f"{markdown.code(data['dataset'])}."
    )
    tags = {"variant": run["variant"], "seed": str(run["seed"])}
    tags |= {"val_accuracy": f"{run[_METRIC]:.6g}", "data_fingerprint": data["data_fingerprint"]}
    source = {"source": f"models:/{model_id}", "model_id": model_id, "run_id": run_id}
    return connection.create_model_version(name, **source, description=description, tags=tags)


def _contest(
    challenger: ModelVersion,
    holder: ModelVersion | None,
    runs: pd.DataFrame,
    prepare_run: str,
    headlines: Sequence[Headline],
) -> _Verdict:
    """Whether a model takes over from the champion, and why."""
    if holder is None:
        return True, f"it got the title uncontested, as there was no champion: {_BEST}"
    if holder.run_id == challenger.run_id:
        return False, _STILL
    if holder.tags.get("data_fingerprint") != challenger.tags["data_fingerprint"]:
        return False, (
            "it stays, as it was trained on other data than the runs compared: their accuracies "
            "cannot be compared with its own. Take the alias away to start anew"
        )
    if _is_gone(holder) and not _is_gone(challenger):
        return True, f"it took over from version {holder.version}, whose model is gone: {_BEST}"
    is_compared = holder.run_id in set(runs["run_id"])
    by_verdict = _by_verdict(challenger, holder, headlines, is_compared=is_compared)
    wins, reason = by_verdict or _on_validation_images(challenger, holder, runs, prepare_run)
    outcome = f"it took over from version {holder.version}" if wins else "it stays"
    return wins, f"{outcome}, as {reason}"


def _is_gone(version: ModelVersion) -> bool:
    run = client.find_run(version.run_id)
    return run is None or client.missing_artifact(run, [WEIGHTS_FILE]) is not None


def _by_verdict(
    challenger: ModelVersion,
    holder: ModelVersion,
    headlines: Sequence[Headline],
    *,
    is_compared: bool,
) -> _Verdict | None:
    """What the question about the two variants came to, so that headline and champion agree.

    None where there is none. A champion whose own run is not compared only has to give way.
    """
    ours, theirs = challenger.tags["variant"], holder.tags["variant"]
    for headline in headlines:
        if headline.metric != "test_accuracy":
            continue
        for answer in (*headline.wins, *headline.denied, *headline.others):
            question = answer.question
            if {question.variant, question.reference} != {ours, theirs}:
                continue
            if answer in headline.wins:
                ahead = sentences.of_winner(answer)
                return True, f"`{ours}` is better than `{theirs}` beyond noise: {ahead}"
            if is_compared and answer.verdict:
                return False, f"`{ours}` is not better beyond noise ({answer.verdict})"
    return None


def _on_validation_images(
    challenger: ModelVersion, holder: ModelVersion, runs: pd.DataFrame, prepare_run: str
) -> _Verdict:
    """Test the two models on the validation images, by what was logged of their predictions.

    The challenger is the best of all runs compared: Bonferroni's correction counts them.
    """
    if _is_gone(challenger):
        return False, f"the model of {_who(challenger)} is gone"
    try:
        test = _by_image(challenger, holder) or _by_count(challenger, holder, prepare_run)
    # A comparison must not fail for what is left of an old model.
    except (InputError, KeyError, ValueError) as error:
        return False, f"it cannot be compared ({markdown.escaped(str(error))})"
    candidates = int((runs["run_id"] != holder.run_id).sum())
    p_value = min(1.0, candidates * test.p_value)
    wins = p_value < 0.05 and test.ours > test.theirs
    return wins, (
        f"{_who(challenger)} is {'' if wins else 'not '}better beyond noise than {_who(holder)} "
        f"on the {test.images:,} validation images: {test.ours:.2%} against {test.theirs:.2%}, "
        f"{test.how}, p = {p_value:.3g} after Bonferroni's correction for {candidates})"
    )


def _by_image(challenger: ModelVersion, holder: ModelVersion) -> _Test | None:
    """McNemar's exact test; None where one of the two has not logged what it predicted."""
    from pipeline.uncertainty.calibration import mcnemar_exact

    ids = [str(version.run_id) for version in (challenger, holder)]
    right = predictions.read([client.get_run(run_id) for run_id in ids], "validation").correct
    if right.keys() != set(ids):
        return None
    ours, theirs = (right[run_id] for run_id in ids)
    test = mcnemar_exact(ours, theirs)
    how = f"{test.only_a} and {test.only_b} that only one has right (exact McNemar test"
    return _Test(float(ours.mean()), float(theirs.mean()), len(ours), test.p_value, how)


def _by_count(challenger: ModelVersion, holder: ModelVersion, prepare_run: str) -> _Test:
    """Fisher's exact test of how many images each has right.

    It takes them for other images each time, which asks for a larger difference: models mostly have
    the same images right.
    """
    from scipy.stats import fisher_exact

    labels, _ = logged_labels(prepare_run, challenger.tags["data_fingerprint"], "val")
    ours, theirs = (float(one.tags["val_accuracy"]) for one in (challenger, holder))
    right = [round(share * len(labels)) for share in (ours, theirs)]
    p_value = float(fisher_exact([[one, len(labels) - one] for one in right]).pvalue)
    how = "by these shares alone, as not both have told which images (Fisher's exact test"
    return _Test(ours, theirs, len(labels), p_value, how)


def _who(version: ModelVersion) -> str:
    return f"version {version.version} (`{version.tags.get('variant')}`)"


def _text(name: str, champion: ModelVersion, reason: str, versions: list[ModelVersion]) -> str:
    title = f"**Champion** of [{name}](#/models/{name}), `models:/{name}@{CHAMPION}`"
    lines = [f"{title}: {_who(champion)}; {reason}.", ""]
    lines += ["| version | variant | seed | validation accuracy |", "|---|---|---|---|"]
    for version in versions:
        number, tags = version.version, version.tags
        link = f"[{number}](#/models/{name}/versions/{number})"
        accuracy = f"{float(tags['val_accuracy']):.2%}"
        lines += [f"| {link} | {tags['variant']} | {tags['seed']} | {accuracy} |"]
    return "\n".join(lines)
