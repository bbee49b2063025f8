"""simhcc: patient-level microsimulation of treatment strategies in hepatocellular carcinoma."""

__version__ = "0.1.0"
