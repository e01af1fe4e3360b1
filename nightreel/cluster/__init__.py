"""An ephemeral Spark cluster on EC2, found by its tags and never remembered in a file."""
