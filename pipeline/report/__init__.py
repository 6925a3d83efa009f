"""From verdicts to pages and pictures: the report of a comparison, and the figures of its runs.

Read `page` first; what figures have in common is in `drawing`.

Imports `answers` and `base`; knows no MLflow.
"""
