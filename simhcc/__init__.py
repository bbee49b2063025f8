"""simhcc: patient-level microsimulation of treatment strategies in hepatocellular carcinoma.

In Python: `simhcc.run`, `read`, `check`, `trial` and `sensitivity` do what the commands of these names do and give tables
(`docs/tutorial.md`).
"""

__version__ = "0.1.0"

_VERBS = ("Results", "check", "read", "run", "sensitivity", "trial")
__all__ = ["Results", "__version__", "check", "read", "run", "sensitivity", "trial"]


def __getattr__(name: str) -> object:
    """The verbs, loaded when first asked for: importing the package loads nothing."""
    if name not in _VERBS:
        raise AttributeError(f"module 'simhcc' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("simhcc.report.api"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
