"""What each step does: `prepare`, `search`, `train`, `mc_dropout`.

All but `mc_dropout`, which adds to a finished run, are a `steps.step.Step`; `variant_step` has what
search and training share. Read `train` first; `tested` judges what it comes to. `study`, `storage`,
`trials` and `rate_curve` are of a search. `graph` makes the steps of a variant, and of what it
starts from; `source` hands on the model that this is. What decides results is checked where it is
read back: data in `variant_step`, models in `trained_model`. Imports the rooms below.
"""
