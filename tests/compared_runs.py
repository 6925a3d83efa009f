"""Made-up runs with their curves, and the comparison of them; for several test modules."""

import json
from typing import Any

import numpy as np
import pandas as pd
from mlflow.entities import Metric, Param, RunTag

from pipeline.answers.evidence import Evidence
from pipeline.answers.fairness import Fact
from pipeline.answers.summary import IF_ASKED, OF_SIZE
from pipeline.answers.verdicts import Answer, Verdict
from pipeline.comparisons import Question, Variant
from pipeline.comparisons.twenty_layers import COMPARISON, ELU
from pipeline.steps.step import settings_tag
from pipeline.tracking import client

COMPARED_VARIANTS = ["elu", "bn", "selu", "alpha_dropout", "one_cycle"]


def make_run(variant, seed, **changes):
    """A run and its curve; the validation loss falls by 0.1 an epoch from 2.0."""
    values = {
        "run_id": f"{variant}-{seed}",
        "variant": variant,
        "seed": seed,
        "learning_rate": 0.001,
        "best_epoch": 5,
        "best_val_loss": 1.5,
        "best_val_accuracy": 0.5,
        "test_accuracy": 0.5,
        "mc_accuracy": float("nan"),
        "mc_nll": float("nan"),
        "mc_ece": float("nan"),
        "nll": float("nan"),
        "ece": float("nan"),
        "test_precision": float("nan"),
        "best_train_accuracy": float("nan"),
        "generalization_gap": float("nan"),
        **dict.fromkeys([*IF_ASKED, *OF_SIZE], float("nan")),
        "median_epoch_seconds": 2.0,
        "train_seconds": 12.0,
        "capped": False,
        "started": 1000 * seed,
        "processor": "one",
    }
    return values | changes


def make_curves(runs, val_losses=None):
    """A curve of each run, `val_losses[run_id]` where given, else 2.0, 1.9 ... to its best."""
    frames = []
    for run in runs.to_dict("records"):
        falling = np.linspace(2.0, run["best_val_loss"], run["best_epoch"] + 1)[1:]
        val_loss = np.asarray((val_losses or {}).get(run["run_id"], falling), dtype=float)
        epoch = np.arange(1, len(val_loss) + 1)
        seconds = run["median_epoch_seconds"] * epoch
        frames.append(
            pd.DataFrame(
                {
                    "run_id": run["run_id"],
                    "variant": run["variant"],
                    "seed": run["seed"],
                    "epoch": epoch,
                    "val_loss": val_loss,
                    "elapsed_seconds": seconds,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def evidence_of(rows, val_losses=None, **more):
    """What a comparison of some runs has found, with the questions of `twenty_layers`."""
    runs = pd.DataFrame(rows)
    curves = make_curves(runs, val_losses)
    curves["val_accuracy"] = 1 - curves["val_loss"] / 3
    curves["epoch_seconds"] = curves.groupby("run_id")["elapsed_seconds"].diff().fillna(2.0)
    given = {
        "dataset": "mnist_5k",
        "baseline": "elu",
        "questions": COMPARISON.asked,
        "runs": runs,
        "curves": curves,
        "colors": {variant.name: variant.color for variant in COMPARISON.variants},
        "facts": [Fact(name="Host", finding="same", detail="one")],
    }
    return Evidence(**(given | more))


def accuracies(**by_variant):
    """Runs with these accuracies, of validation and of test; the seeds begin at 1."""
    return [
        make_run(variant, seed, test_accuracy=value, best_val_accuracy=value)
        for variant, values in by_variant.items()
        for seed, value in enumerate(values, start=1)
    ]


def answer(verdict="better", metric="test_accuracy", **changes):
    """An answer on `bn` and `elu`, made up."""
    values = {
        "question": Question(variant="bn", reference="elu", metric=metric),
        "verdict": Verdict(verdict) if verdict else None,
        "effect": 1.16 if metric != "test_accuracy" else 0.0398,
        "low": 1.12 if metric != "test_accuracy" else 0.021,
        "high": 1.2 if metric != "test_accuracy" else 0.0586,
        "confidence": 0.979,
        "sizes": (3, 3),
    }
    return Answer(**(values | changes))


def five_variants(seeds):
    rows = []
    generator = np.random.default_rng(0)
    for place, variant in enumerate(COMPARED_VARIANTS):
        for seed in seeds:
            accuracy = 0.45 + 0.02 * place + generator.normal(0, 0.002)
            dropout = {"mc_nll": 1.4, "mc_ece": 0.02} if place > 2 else {}
            dropout |= {"mc_accuracy": accuracy + generator.normal(0, 0.001)} if place > 2 else {}
            noise = {
                "nll": 1.5,
                "ece": 0.07,
                "best_val_loss": 1.5 - 0.05 * place + generator.normal(0, 0.01),
                "median_epoch_seconds": 2.0 + generator.normal(0, 0.05),
                "best_val_accuracy": accuracy,
                "test_accuracy": accuracy,
            }
            rows.append(make_run(variant, seed, **noise, **dropout))
    return rows


# Runs in a store


def train_run(
    variant: str | Variant = ELU,
    seed: int = 1,
    *,
    status: str = "FINISHED",
    parameters: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
    stopped_early: float = 1.0,
    start_time: int | None = None,
) -> client.Run:
    """A training run as the `train` entry point leaves it, without the training."""
    known = {one.name: one for one in COMPARISON.variants}
    own = known[variant] if isinstance(variant, str) else variant
    values = {
        "variant": own.name,
        "seed": seed,
        "epochs": own.epochs,
        "patience": own.patience or "none",
        "chosen_batch_size": own.batch_size,
    }
    texts = {
        "step": "train",
        "dataset": "mnist_5k",
        "data_fingerprint": "f" * 64,
        "step_inputs": json.dumps({"code of pipeline.work.train": "1"}),
        **settings_tag(own, {}),
    }
    connection = client.connect()
    name = f"train {own.name} seed {seed}"
    run_id = connection.create_run("0", start_time, run_name=name).info.run_id
    connection.log_batch(
        run_id,
        metrics=[Metric("stopped_early", stopped_early, 0, 0)],
        params=[Param(name, str(value)) for name, value in (values | (parameters or {})).items()],
        tags=[RunTag(name, text) for name, text in (texts | (tags or {})).items()],
    )
    connection.set_terminated(run_id, status)
    return client.get_run(run_id)
