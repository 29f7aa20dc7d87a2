"""Functions: a package of code and its configuration, deployed as revisions of a workload."""
