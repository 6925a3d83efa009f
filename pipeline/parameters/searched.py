"""What a search of a learning rate refuses: ranges that are none, and seeds that it has itself."""

from pipeline.base import InputError

LOWEST_RATE, HIGHEST_RATE = 1e-12, 1e6  # of which the weights' float32 can make something


def check_rates(low: float, high: float) -> None:
    """Refuse what is no range of learning rates.

    Raises:
        InputError: naming both ends.
    """
    # Optuna's sampler comes to nan in a range that is hardly one.
    if not (low >= LOWEST_RATE and 1.1 * low <= high <= HIGHEST_RATE):
        raise InputError(
            "learning_rate_min and learning_rate_max",
            expected=f"two numbers from {LOWEST_RATE:g} to {HIGHEST_RATE:g}, "
            "the second at least a tenth above the first",
            received=f"{low} and {high}",
            action="The default range is 0.00001 to 0.1.",
        )


def check_seeds(name: str, seeds: tuple[int, ...], *, search_seed: int) -> None:
    """Refuse to judge a rate by the seed that chose it: it is the one that suits that seed.

    Raises:
        InputError: naming the parameter that holds the seeds.
    """
    if search_seed in seeds:
        raise InputError(
            name,
            expected=f"other than search_seed, {search_seed}, by which the learning rate is chosen",
            received=",".join(map(str, seeds)),
            action="Leave it out, give another search_seed, or a learning_rate.",
        )
