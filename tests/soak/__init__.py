"""
The soak: writers, kills and scrapes at random, held against an exact truth.

`python tests/soak/run.py --minutes 60`; `__main__` is the command.
"""
