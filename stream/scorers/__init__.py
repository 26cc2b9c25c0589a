"""Scorers: features of touched entities in, score records out. One file a model."""

from stream.scorers.base import Scored, Scorer, Touched
from stream.scorers.next_best_offer import NextBestOfferScorer
from stream.scorers.reorder import ReorderScorer
from stream.scorers.stockout import StockoutScorer

__all__ = ["NextBestOfferScorer", "ReorderScorer", "Scored", "Scorer", "StockoutScorer", "Touched"]
