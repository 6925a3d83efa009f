"""What every room may import, and what imports no other: errors, output, passwords, progress.

Read `errors` first: a refusal says what was expected, what was received and what to do.
"""

from pipeline.base.errors import (
    DivergenceError,
    InputError,
    RunDeletedError,
    StepsFailedError,
    TrackingUnavailableError,
    did_you_mean,
    unknown_name,
)
from pipeline.base.passwords import has_password, hide_passwords, is_secret

__all__ = ["DivergenceError", "InputError", "RunDeletedError", "StepsFailedError"]
__all__ += ["TrackingUnavailableError", "did_you_mean", "has_password", "hide_passwords"]
__all__ += ["is_secret", "unknown_name"]
