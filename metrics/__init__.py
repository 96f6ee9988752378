"""Compute metrics: features and texts in, numbers out."""

if __name__ == "metrics":  # imported by the folder's name, from a checkout
    from evenhand.folders import lead_to_package

    lead_to_package(__name__)
