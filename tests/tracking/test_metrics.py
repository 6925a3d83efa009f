"""Metrics of earlier versions by their names of today."""

from pathlib import Path

from step_runs import opened

from pipeline.tracking import client, metrics


def test_of_a_run_of_an_earlier_version_the_best_is_that_of_the_weights_it_kept(
    store: Path,
) -> None:
    run = opened()
    run.log_metrics({"loss": 1.0, "accuracy": 0.7, "val_loss": 2.5, "final_val_loss": 2.5})
    run.log_metrics({"best_epoch": 3, "best_val_loss": 2.0, "best_val_accuracy": 0.4})
    run.log_metrics({"judged_epoch": 5, "judged_val_loss": 2.5, "judged_val_accuracy": 0.375})
    found = metrics.of_run(client.get_run(run.run_id))
    expected = {"train_loss": 1.0, "train_accuracy": 0.7, "best_epoch": 5, "best_val_loss": 2.5}
    assert found.items() >= {**expected, "best_val_accuracy": 0.375, "val_loss": 2.5}.items()


def test_a_run_of_today_and_one_that_knew_no_other_best_are_as_they_are(store: Path) -> None:
    run = opened()
    run.log_metrics({"best_val_loss": 1.5, "train_loss": 1.25, "test_accuracy": 0.5})
    found = client.get_run(run.run_id)
    assert metrics.of_run(found) == found.data.metrics
