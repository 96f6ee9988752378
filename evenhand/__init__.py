"""Human preference studies of text-to-image guidance.

In a checkout, the links in this folder lead to the folders beside it; in the installed package they are folders here.
So everything is imported under one name, and an installation adds no other name to an environment.
"""

__version__ = "0.1.0"
