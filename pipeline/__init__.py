"""Deep dense networks on CIFAR-10, one MLflow run per step.

An entry point is one module: `prepare` -> `search` -> `train` -> `mc_dropout` -> `compare`; `main`
chains them. What they share, from the bottom up: `variants` (the architectures as data), `data`
(data sets), `models` (Keras models), `training` (compiled `fit`), `uncertainty` (MC Dropout),
`report` (statistics and answers), `figures`, `tracking` (MLflow), `progress` (what a
person sees) and `engine` (Dask).
"""
