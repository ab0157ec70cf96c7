"""The learner: learns from batches while they last, keeps one model, tests it offline."""

__version__ = "0.1.0"
