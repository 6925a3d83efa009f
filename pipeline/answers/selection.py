"""How images were chosen from a data set, as `prepare` records it where it is not the default."""

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
    """How the images of data sets were chosen; settings that all leave at the default are left out.

    Args:
        prepared: by the fingerprint of a data set, what the run that prepared it has recorded.

    Returns:
        For every setting, by its name in words, its value by fingerprint.
    """
    return {
        name: {data: recorded.get(setting, default) for data, recorded in prepared.items()}
        for setting, (name, default) in _SETTINGS.items()
        if any(setting in recorded for recorded in prepared.values())
    }
