"""Generation: choosing tokens, the decoding loop over any step function, streaming text, beam search.

Read in this order: sampling.py, loop.py (the book); strategies.py, rules.py, text.py, decode.py, beam.py.
"""

from .beam import beam_hypotheses, beam_search, check_beams
from .decode import as_list, generate, left_pad, stream, stream_text
from .rules import Rules, absent, check_suppressed
from .strategies import Sampling
from .text import TextStream

__all__ = ["Rules", "Sampling", "TextStream", "absent", "as_list", "beam_hypotheses", "beam_search", "check_beams",
           "check_suppressed", "generate", "left_pad", "stream", "stream_text"]
