"""The one error of a bundle that is not as it should be."""


class BundleError(ValueError):
    """One sentence: what is wrong, where, and what was expected."""
