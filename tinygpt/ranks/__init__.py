"""Ranks: the processes, on one machine or many, that train one model together.

    group.py    what ranks can do together; one process alone
    sums.py     sums in an order that does not depend on who has which part
    mpi.py      ranks that an MPI launcher started
    nccl.py     ranks with a GPU each
    watch.py    who still answers; one line when something fails
    launch.py   whether this program is one of several, and the group it belongs to
"""

from .group import Group
from .launch import end_together, joined, launched_as, require_same, together
from .nccl import with_own_gpus
from .sums import additions

__all__ = ["Group", "additions", "end_together", "joined", "launched_as", "require_same", "together", "with_own_gpus"]
