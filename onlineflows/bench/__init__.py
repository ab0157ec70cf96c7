"""How fast flows train, evaluate and sample here, beside the libraries that people use.

Contenders take turns, slot by slot, so that whatever else the machine does meets all of them; what
is reported are medians and spreads over the rounds. Everything here returns rows of plain numbers;
`onlineflows.cli.bench` prints them.
"""
