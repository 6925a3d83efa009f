"""Data sets: found, checked, split and kept as arrays that every process maps into its memory.

Imports `base` and what `comparisons` declare; NumPy alone, so that no TensorFlow is waited for.

Read `splits` first: what the other rooms get. `splitting` makes it of a data set; which images it
takes and pairs is in `samples`. `sources` finds and loads data sets, from Keras's cache or from
`.npz` files, and `npz` also refuses what cannot be used, wherever it comes from; by `fingerprints`,
arrays that are read back are known to be those that were written.
"""
