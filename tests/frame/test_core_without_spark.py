"""The core works where pyspark is not installed: DAG files, `fedspark check` and the arbiter need no Spark."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = ["pyspark", "py4j", "pandas", "sklearn", "phe"]
CORE = ["conf", "crypto", "exchange.mailbox", "exchange.store", "run", "buckets", "reports", "cli"]


def test_the_core_imports_where_spark_is_not_installed():
    rooms = ", ".join(f"fedspark.{room}" for room in CORE)
    program = f"import sys; sys.modules.update(dict.fromkeys({WITHOUT})); import {rooms}"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_conf_does_not_load_pyspark_where_it_is_installed():
    program = "import sys, fedspark.conf; sys.exit('pyspark' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
