"""What every room needs of files.

Reading order: `atomic_file.py` (files that appear whole or not at all).
"""
