"""spark-submit entry of step kind "psi": takes what `fedspark run` takes."""

import sys

from fedspark.cli import main

if __name__ == "__main__":
    main(["run", "--step", "psi", *sys.argv[1:]])
