"""Optimizers that Keras lacks, and those that several recipes share."""

from tfkd.optimizers._muon import Muon, orthogonalized
from tfkd.optimizers._schedules import cosine_nesterov, sgd_of_the_papers, warmed_up_cosine

__all__ = ["Muon", "cosine_nesterov", "orthogonalized", "sgd_of_the_papers", "warmed_up_cosine"]
