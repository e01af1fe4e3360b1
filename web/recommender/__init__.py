"""The site's one app: the visitor's page, its JSON twin, and taking in new models."""
