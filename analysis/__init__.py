"""Compute statistics from choices. Only numpy and scipy are imported."""

if __name__ == "analysis":  # imported by the folder's name, from a checkout
    from evenhand.folders import lead_to_package

    lead_to_package(__name__)
