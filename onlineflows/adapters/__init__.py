"""OnlineFlows inside other projects' programs: river, scikit-learn and torch.

One module each; importing one loads no other project's library.
"""
