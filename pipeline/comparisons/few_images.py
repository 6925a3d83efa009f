"""With how many images of each digit does transfer still help?"""

from pipeline.comparisons import Comparison, Question
from pipeline.comparisons.transfer import DATA, SCRATCH, UNFROZEN

NUMBERS = (20, 100, 500)  # of images of each digit
VARIANTS = tuple(
    variant
    if variant.images_per_class == number
    else variant.derive(name=f"{variant.name}_{number}", images_per_class=number)
    for number in NUMBERS
    for variant in (SCRATCH, UNFROZEN)
)

COMPARISON = Comparison(
    data=DATA,
    variants=VARIANTS,
    questions=tuple(
        Question(
            variant=transferred.name,
            reference=scratch.name,
            metric="test_accuracy",
            text=f"Does transfer help with {scratch.images_per_class} images of each digit?",
        )
        for scratch, transferred in zip(VARIANTS[::2], VARIANTS[1::2], strict=True)
    ),
)
