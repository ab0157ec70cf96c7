"""The command line: parse, load, wire, run, exit code. The one place that imports `replay`."""
