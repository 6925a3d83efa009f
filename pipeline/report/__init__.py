"""From verdicts to pages and pictures: the report of a comparison, and the figures of its runs.

Read `page` first; `night` is what a night shows. What figures have in common is in `drawing`, how
they are put into a page in `embedding`, what pages have in common in `templates`.

Imports `answers`, `data` and `base`; knows no MLflow.
"""
