"""Texts and arrays in, indices out: which prompts a study shows (paper §5.3)."""

if __name__ == "sampling":  # imported by the folder's name, from a checkout
    from evenhand.folders import lead_to_package

    lead_to_package(__name__)
