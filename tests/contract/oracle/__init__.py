"""
An independent, slow, whole-database computation of what the exporter must show.

Plain Python over every row at once, by the sentences of the metrics contract, of
which each rule quotes the one that it implements; where the contract leaves a
choice, the docstring names it.  Shares nothing with the exporter: names of tools and
what error texts mean stand here once more.
"""
