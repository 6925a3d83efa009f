"""From runs to verdicts, as values; words come last.

`statistics` has the figures and the tests of a comparison's questions, `verdicts` what they come
to, `words` says it and `tables` shows the figures; `fairness` finds what else the runs differ in.
Read `verdicts` first. Knows no MLflow: runs are tables and `fairness.RunRecord`s. May import
`comparisons` and `base`.
"""
