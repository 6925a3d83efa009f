"""From runs to verdicts, as values; words come last.

Read `verdicts` first: every answer of a comparison is made there, once. It rests on `measured`,
what each metric makes of the runs, and on `intervals`, effects with their confidence intervals.
`rounds` says which variants get another seed, and why; `headlines` says who is
ahead; `summary` describes, `families` groups variants that differ only in how many images they are
trained with, `fairness` finds what else the runs differ in, for which `selection` says how data
were chosen, and `evidence` has it all together. `words` says it and `tables` shows the figures.
Knows no MLflow: runs are tables and `run_records.RunRecord`s. May import `comparisons` and `base`.
"""
