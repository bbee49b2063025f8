"""Virtual trials: what a trial would have reported about the simulated patients."""
