"""Watching a run from outside its daemons: what is known of it, as a web page, metrics and text.

Nothing here imports the trainer or the producer: a watcher hears their telemetry and reads what
they leave in the run directory. It changes nothing there, and nobody waits for it.
"""
