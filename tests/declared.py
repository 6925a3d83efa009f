"""A comparison as a person writes it, for several test modules."""

BN_SWISH = '''"""Does swish do better than ELU under batch normalisation?"""
from pipeline.comparisons import Comparison, Question
from pipeline.comparisons.twenty_layers import BN

BN_SWISH = BN.derive(name="bn_swish", description="bn with swish", activation="swish")

COMPARISON = Comparison(
    variants=(BN, BN_SWISH),
    questions=(Question(variant="bn_swish", reference="bn", metric="test_accuracy", margin=0.01),),
)
'''
