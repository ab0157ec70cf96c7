"""The fault matrix: real producer and consumer processes on loopback, broken on purpose.

Every fault is a function that plays on a `stage.Stage`; `matrix` lists them, runs rounds of them
and judges what is left: the ledgers of both ends, and θ beside that of an undisturbed run. The
daemons are processes of this program's own command line, so nothing here imports them.
"""
