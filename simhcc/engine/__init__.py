"""The engine: random numbers, hazards and the kernel that runs any model; numpy and numba only."""
