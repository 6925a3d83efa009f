"""MC Dropout, how far to trust probabilities, and trained models that can say so themselves.

May import `base` alone. Read `sampling` first, then `served_model`, what a logged model answers.

`served_model` and what it imports import one another relatively, as no other module here does: with
every model that has dropout `logged_models` copies these files, as they are, into a package of
another name, where the model works without this project.
"""
