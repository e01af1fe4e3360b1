"""The bundle: one Arrow file, the only thing that the cluster and the site share."""
