"""The Django application: records, order of work, pages."""

if __name__ == "studies":  # imported by the folder's name, from a checkout
    from evenhand.folders import lead_to_package

    lead_to_package(__name__)
