"""What processes that tests start find in the place of matplotlib: see conftest.py."""

raise ImportError("absent")
