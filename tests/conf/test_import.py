"""DAG files import the configuration every few seconds: it stays light."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ["pyspark", "pandas", "numpy", "pyarrow", "gmpy2", "phe", "cryptography", "obstore", "click", "rich"]


def test_importing_the_configuration_loads_neither_spark_nor_crypto():
    code = f"import sys, json, fedspark.conf; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []
