"""spark-submit entry of step kind "predict": takes what `fedspark run` takes."""

import sys

from fedspark.cli import main

if __name__ == "__main__":
    main(["run", "--step", "predict", *sys.argv[1:]])
