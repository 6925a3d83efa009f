"""Made-up runs with their curves, and the comparison of them; for several test modules."""

import numpy as np
import pandas as pd

from pipeline.answers.statistics import paired_tests
from pipeline.answers.summary import summarize
from pipeline.answers.words import answers

BN_CONVERGENCE = "Does batch normalisation converge faster than the baseline?"
BN_QUALITY = "Does batch normalisation give a better model than the baseline?"
BN_SPEED = "How does batch normalisation affect training speed?"
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
        "median_epoch_seconds": 2.0,
        "train_seconds": 12.0,
        "capped": False,
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


def compare(rows, val_losses=None):
    runs = pd.DataFrame(rows)
    curves = make_curves(runs, val_losses)
    summary = summarize(runs, curves)
    tests = paired_tests(runs, curves)
    return summary, tests, {a.question: a.answer for a in answers(summary, tests)}


def compare_accuracies(elu, bn, **changes):
    rows = [make_run("elu", seed, best_val_accuracy=a, test_accuracy=a) for seed, a in elu.items()]
    rows += [
        make_run("bn", seed, **{"best_val_accuracy": a, "test_accuracy": a} | changes)
        for seed, a in bn.items()
    ]
    return compare(rows)


def five_variants(seeds):
    rows = []
    generator = np.random.default_rng(0)
    for place, variant in enumerate(COMPARED_VARIANTS):
        for seed in seeds:
            accuracy = 0.45 + 0.02 * place + generator.normal(0, 0.002)
            dropout = {"mc_accuracy": accuracy + generator.normal(0, 0.001)} if place > 2 else {}
            noise = {
                "best_val_loss": 1.5 - 0.05 * place + generator.normal(0, 0.01),
                "median_epoch_seconds": 2.0 + generator.normal(0, 0.05),
                "best_val_accuracy": accuracy,
                "test_accuracy": accuracy,
            }
            rows.append(make_run(variant, seed, **noise, **dropout))
    return rows
