"""What is done with a snapshot after the run: methods, figures and the report.

Reads arrays that its caller loaded or sampled, and evaluation data with truth labels. It knows no
file format and can't reach the trainer. Densities arrive as `AnyDensity`: those of one model, or a
mixture. Methods of search are lines of `methods.METHODS`.
"""
