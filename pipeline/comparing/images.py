"""What runs say of every test image, by variant, with the images where they are still there."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.answers.images import ImageEvidence, Votes
from pipeline.base import InputError, progress
from pipeline.comparing.predictions import Predictions, Probabilities
from pipeline.tracking import client
from pipeline.work.variant_step import logged_pictures


def evidence(
    chosen: Sequence[client.Run], runs: pd.DataFrame, test: Predictions
) -> ImageEvidence | None:
    """The votes of the runs on the test images; None where none has logged its predictions.

    Args:
        chosen: training runs on the same data.
        runs: with the columns run_id and variant.
        test: what they predicted, without MC Dropout.
    """
    if not test.probabilities:
        return None
    tags = chosen[0].data.tags
    count = len(next(iter(test.probabilities.values()))[0])
    pictures, names = None, tuple(map(str, range(count)))
    try:
        found, named = logged_pictures(tags["prepare_run"], tags["data_fingerprint"], "test")
        if (len(found), len(named)) == (len(test.labels), count):
            pictures, names = found, named
    except InputError as error:
        progress.update(message=f"The report shows no images: {error}")
    by_variant = {
        str(variant): [test.probabilities[one] for one in ids if one in test.probabilities]
        for variant, ids in runs.groupby("variant", sort=False)["run_id"]
    }
    votes = {variant: _votes(of) for variant, of in by_variant.items() if of}
    return ImageEvidence(test.labels, names, votes, pictures)


def _votes(of: Sequence[Probabilities]) -> Votes:
    counts = np.zeros(of[0].shape, np.int32)
    mean = np.zeros(of[0].shape, np.float32)
    for one in of:
        counts[np.arange(len(one)), one.argmax(axis=1)] += 1
        mean += one
    mean /= len(of)
    return Votes(len(of), counts, mean)
