"""Other ways to run the reference workload, each a module with the same two functions.

`simulate(n_patients, n_draws, seed, ...)` returns the mean outcomes of each draw, shape (draws, strategies, outcomes)
in the order of `Workload.hazard_ratios` and `OUTCOMES`; `run(n_patients, n_draws, seed)` returns their means by name.

- `numpy_plain`: arrays over patients, draw by draw, one thread: how one would first write it;
- `numpy_chunked`: the same model written for speed, in chunks that fit the cache, on threads;
- `numba_scalar`: one patient at a time, compiled, on threads;
- `heormodel_continuous`: `MicrosimModel.continuous` of heormodel (MIT; extra `benchmark`).
"""
