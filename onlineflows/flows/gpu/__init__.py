"""Spline flows on a GPU: forward, backward and all gradients of a step in one kernel."""
