"""Search for a student: the best network within a budget of parameters, FLOPs or milliseconds."""

from tfkd.searching._budget import Budget
from tfkd.searching._result import SearchResult, Trial
from tfkd.searching._search import search
from tfkd.searching._timing import measure_milliseconds

__all__ = ["Budget", "SearchResult", "Trial", "measure_milliseconds", "search"]
