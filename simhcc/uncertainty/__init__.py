"""What the results hang on: one-way, two-way, threshold, screening and variance-based analyses, structure, verification.

Every analysis keeps the same patients and the same luck for all parameter vectors, so that an outcome is a function of the
parameters. `question` holds what is asked, `points` evaluates many parameter vectors at once, `factors` says how a
parameter moves, `deterministic` and `screening` do the analyses, `verification` the checks of `simhcc verify`.
"""
