"""Speed and memory of simhcc beside other programs; `python -m benchmarks.competitors` runs the other programs."""
