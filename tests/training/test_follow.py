"""What the first rank lends to the others."""

from __future__ import annotations

import numpy as np
import pytest
from thread_ranks import in_ranks

from tinygpt.ranks import Group
from tinygpt.training import follow
from tinygpt.training.follow import lend_files


@pytest.mark.parametrize("machines", [["a"], ["a", "a"], ["a", "b"], ["a", "b", "b", "a", "c"]])
def test_files_are_copied_to_other_machines_alone(tmp_path, monkeypatch, machines):
    monkeypatch.setattr(follow, "CHUNK", 7)
    content = {"train.npy": np.arange(100, dtype=np.uint8).tobytes(), "validation.npy": b"", "more": b"1234567"}
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)

    def read(group: Group):
        with lend_files(group, tmp_path if group.rank == 0 else None) as folder:
            found = {path.name: path.read_bytes() for path in folder.iterdir()}
        group.collect(None)  # the rank that keeps the copy has left the block by now
        return folder, found, folder.exists()
    answers = in_ranks(len(machines), read, machines)
    for machine, (folder, found, left) in zip(machines, answers):
        assert found == content and (folder == tmp_path) == (machine == "a") == left
    assert len({folder for folder, _, _ in answers}) == len(set(machines))
