"""What every room needs of files and of the terminal: reading that believes nothing, and text that is safe to show.

Reading order: `shown.py` (values in messages, text on a terminal), `bounded.py` (a whole file or stream, up to a size),
`atomic_file.py` (files that appear whole or not at all), `json_file.py` (JSON), `paths.py` (a home folder in a path).
"""

from .bounded import read_bounded, read_stream
from .json_file import parse_json, parse_object, read_json, write_json
from .paths import user_path
from .shown import printable, shown

__all__ = ["parse_json", "parse_object", "printable", "read_bounded", "read_json", "read_stream", "shown",
           "user_path", "write_json"]
