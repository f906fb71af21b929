"""What every room needs of files.

Reading order: `atomic_file.py` (files that appear whole or not at all), `quiet.py` (streams that decide nothing).
"""

from .atomic_file import append_to, atomic_write, refuse_link, remove_strays, second_name, write_text
from .quiet import Quiet

__all__ = ["Quiet", "append_to", "atomic_write", "refuse_link", "remove_strays", "second_name", "write_text"]
