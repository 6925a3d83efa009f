"""From verdicts to pages and pictures: the report of a comparison, and the figures of its runs.

Read `page` first; what figures have in common is in `drawing`, how they are put into the page in
`embedding`.

Imports `answers` and `base`; knows no MLflow.
"""
