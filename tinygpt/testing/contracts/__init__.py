"""What must hold whatever the numbers are: shapes, dtypes, memory, the same again.

    base.py         what the contracts are made of
    tensors.py      a function of Tensors
    plain.py        a function of arrays with a gradient written by hand
    rules.py        a rule, whose closure can be called directly
    twins.py        a fast twin: all that a rule must keep, and the rule's numbers
    models.py       a language model: causality, cache, padding, batches, loss

Each file imports from base.py, twins.py from rules.py too, and from oracles/, reports/ and samples/.
"""

__all__: list[str] = []
