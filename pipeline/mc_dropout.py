"""Entry point `mc_dropout`: MC Dropout on an already trained run, without retraining."""

from pipeline import command
from pipeline.parameters import McDropout
from pipeline.work.mc_dropout import add_mc_dropout


def mc_dropout(asked: McDropout) -> str:
    """MC Dropout on a trained run, without retraining: is the average of random predictions better?

    Only the dropout layers are random; weights and batch normalisation stay as they are. Accuracy,
    negative log-likelihood, calibration and an exact McNemar test are logged onto the trained run.

    \b
    python -m pipeline.mc_dropout --run-id ID --mc-samples 200
    """
    add_mc_dropout(asked.run_id, asked.mc_samples)
    return asked.run_id


if __name__ == "__main__":
    command.run(mc_dropout)
