"""Which images a data set was asked for: what `prepare` records where it is not the default."""

from collections.abc import Mapping

# Of every setting what it is called, and what its default is in words.
_SETTINGS: Mapping[str, tuple[str, str]] = {
    "classes": ("Classes kept", "all"),
    "skipped_per_class": ("Images skipped of each class", "0"),
    "images_per_class": ("Images of each class to train with", "all"),
    "val_images_per_class": ("Images of each class to validate with", "a share of all"),
    "split": ("How images are split", "stratified"),
    "standardized": ("Pixels standardised", "True"),
    "pairs": ("Pairs of images", "False"),
}


def selections(prepared: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """What data sets were asked for, each setting that is the default of all left out.

    Args:
        prepared: by the fingerprint of a data set, what the run that prepared it has recorded.

    Returns:
        For every setting, by its name in words, what it was of each fingerprint.
    """
    return {
        name: {data: recorded.get(setting, default) for data, recorded in prepared.items()}
        for setting, (name, default) in _SETTINGS.items()
        if any(setting in recorded for recorded in prepared.values())
    }
