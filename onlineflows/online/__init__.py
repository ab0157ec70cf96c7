"""The learner: from received batches to published snapshots."""
