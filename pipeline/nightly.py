"""Entry point `nightly`: the comparison brought up to date, checked, and told of if it changed."""

from pipeline import command
from pipeline.comparing.comparison import wanted
from pipeline.nights import night
from pipeline.parameters import Nightly


def nightly(asked: Nightly) -> int:
    """Add evidence to a comparison, check that nothing has changed, and ring where an answer does.

    Trains a finished training again and compares every digit; reruns what has other code, data or
    packages, and compares it with the last good night; adds seeds to what is undecided, within
    minutes. Takes what `main` takes. Exit code 3: something became worse, or a verdict turned;
    with TWENTY_LAYERS_NOTIFY_URL in the environment, that is posted there, too. While one runs,
    a second one leaves with 0.

    \b
    python -m pipeline.nightly --dataset cifar10
    python -m pipeline.nightly --comparison ./mine.py --dataset images.npz --bisect yes
    """
    return night.run(wanted(asked), asked)


if __name__ == "__main__":
    command.run(nightly, is_told=True)
