"""Public files of events: what there is, how it is fetched, and whether a file is what it says."""
