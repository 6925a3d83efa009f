"""What each step does: prepare, search, train, mc_dropout, compare; `comparison` has all of them.

Every step is a `steps.step.Step`. Read `train` first, then `comparison`, which decides and runs
them, and `plan`, which says what it would do. Imports every room below.
"""
