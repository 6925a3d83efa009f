"""Old names, until nothing uses them."""

from types import MappingProxyType

from pipeline.base import unknown_name
from pipeline.comparisons import Variant
from pipeline.comparisons.twenty_layers import COMPARISON

VARIANTS = MappingProxyType({variant.name: variant for variant in COMPARISON.variants})


def get_variant(name: str) -> Variant:
    """The variant of this name."""
    if name not in VARIANTS:
        raise unknown_name("variant", name, VARIANTS)
    return VARIANTS[name]
