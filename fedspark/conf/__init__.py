"""Party files and pipeline files: models, loader, secrets by reference, JSON schema. Imports no Spark and no crypto."""

from __future__ import annotations

from fedspark.conf.loader import check_together, load_party, load_pipeline, party_from, pipeline_from
from fedspark.conf.options import (
    EvaluateOptions,
    LoadOptions,
    PredictOptions,
    PsiOptions,
    StepOptions,
    TrainOptions,
)
from fedspark.conf.party_file import ExchangeConf, PartyConf, PolicyConf, SparkConf, WorkspaceConf
from fedspark.conf.pipeline_file import PipelineConf
from fedspark.conf.schema import party_schema, pipeline_schema, schema_text
from fedspark.conf.tables import AnyTable, CsvTable, OrcTable, ParquetTable

__all__ = [
    "AnyTable",
    "CsvTable",
    "EvaluateOptions",
    "ExchangeConf",
    "LoadOptions",
    "OrcTable",
    "ParquetTable",
    "PartyConf",
    "PipelineConf",
    "PolicyConf",
    "PredictOptions",
    "PsiOptions",
    "SparkConf",
    "StepOptions",
    "TrainOptions",
    "WorkspaceConf",
    "check_together",
    "load_party",
    "load_pipeline",
    "party_from",
    "party_schema",
    "pipeline_from",
    "pipeline_schema",
    "schema_text",
]
