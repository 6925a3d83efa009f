"""Data sets: found, checked, split and kept as arrays that every process maps into its memory.

Imports `base` and what `comparisons` declare; NumPy alone, so that no TensorFlow is waited for.

Read `splits` first: what the other rooms get. `sources` finds and loads data sets, from `.npz`
files (`npz`) or Keras's cache (`keras_cache`), and `checks` refuses what cannot be used.
"""
