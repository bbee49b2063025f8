"""Claims: statements that clinicians make, each tested by experiments over the uncertain numbers, with a verdict."""
