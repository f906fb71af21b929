"""How a slope is known without anybody's gradient, and whether a gradient agrees with it.

    arguments.py    which arguments are checked
    problem.py      a function and a gradient of it, with one face
    parameters.py   the weights of a model as such a problem
    line.py         derivatives by evaluation alone, along one direction
    ladder.py       the best of them, and how far it may be off
    compare.py      one direction: pass, fail, kink or inconclusive
    sweep.py        all entries, in groups
    kinks.py        where the function has no slope, but one to either side

Each file imports from those above it only.
"""

__all__: list[str] = []
