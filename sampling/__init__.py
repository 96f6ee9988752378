"""Select the prompts that a study shows (paper §5.3): texts and arrays in, indices out."""

if __name__ == "sampling":  # imported by the folder's name, from a checkout
    from evenhand.folders import lead_to_package

    lead_to_package(__name__)
