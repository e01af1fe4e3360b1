"""What can be wrong with a bundle and with its publishing."""


class BundleError(ValueError):
    """One sentence: what is wrong, where, and what was expected."""


class PublishError(RuntimeError):
    """The site did not take or activate the bundle; the sentence says what it answered."""


class PublishRefusedError(PublishError):
    """The site will refuse this token, or this bundle, every time."""
