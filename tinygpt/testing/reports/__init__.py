"""Reports of a check: findings, and a program that shows the first of them without the checker.

    report.py       Finding, GradcheckReport, GradcheckError
    sources.py      the text of a function and of what it needs
    snippet.py      the program

Each file imports from those above it, and from oracles/.
"""

__all__: list[str] = []
