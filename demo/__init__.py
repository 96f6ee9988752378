"""Contain the small model that ships with Evenhand: its scenes, its training, its checkpoint."""

if __name__ == "demo":  # imported by the folder's name, from a checkout
    from evenhand.folders import lead_to_package

    lead_to_package(__name__)
