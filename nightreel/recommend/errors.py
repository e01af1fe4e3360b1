"""What can be wrong with ratings; apart, so that whoever only knows the error need not load what reads them."""


class DatasetError(ValueError):
    """A folder or a name that is no usable set of ratings: what was looked for and what is supported."""
