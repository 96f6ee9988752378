#!/usr/bin/env python
"""Django's command line, in a checkout; an installation has it as ``evenhand``."""

from evenhand.__main__ import main

if __name__ == "__main__":
    main()
