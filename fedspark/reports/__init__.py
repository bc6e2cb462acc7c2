"""Records in, one offline HTML page out."""

from fedspark.reports.page import render
from fedspark.reports.run_report import run_report

__all__ = ["render", "run_report"]
