"""Nightreel: a movie recommender that retrains itself every night on a cluster that never leaks."""
