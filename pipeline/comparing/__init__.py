"""A comparison as a whole: its steps, one round of seeds after the other, and what they come to.

Read `comparison` first, which decides what becomes of all steps, those of what variants start from
among them; `plan` says it, and `rounds` runs them for `main` on the workers of a `crew`.
`replicates` finds the runs that count as seeds of one training. `compare` is the step that ends it:
`evidence` collects, from `artifacts` and `predictions`, what `answers` judges, and `champion`
registers models. Imports every room.
"""
