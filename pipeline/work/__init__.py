"""What each step does: `prepare`, `search`, `train`, `mc_dropout`, `compare`.

All but `mc_dropout`, which adds to a finished run, are a `steps.step.Step`; `variant_step` has what
search and training share. Read `train` first, then `comparison`, which decides what becomes of all
of a comparison's steps, `plan`, which says it, and `rounds`, which runs them for `main` on the
workers of a `crew`. `replicates` finds the runs that count as seeds of one training. `study` and
`trials` are of a search; `evidence`, `artifacts` and `champion` of `compare`. What decides results
is checked where it is read back: data in `variant_step`, models in `trained_model`. Imports every
room.
"""
