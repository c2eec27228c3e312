"""The public path of the result codes; they live in `buildbot.util.results`."""

from buildbot.util.results import (
    ALL_RESULTS,
    CANCELLED,
    EXCEPTION,
    FAILURE,
    RETRY,
    SKIPPED,
    SUCCESS,
    WARNINGS,
    ResultComputingConfigMixin,
    Results,
    computeResultAndTermination,
    statusToString,
    worst_status,
)

__all__ = [
    "ALL_RESULTS",
    "CANCELLED",
    "EXCEPTION",
    "FAILURE",
    "RETRY",
    "SKIPPED",
    "SUCCESS",
    "WARNINGS",
    "ResultComputingConfigMixin",
    "Results",
    "computeResultAndTermination",
    "statusToString",
    "worst_status",
]
