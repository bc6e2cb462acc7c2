"""spark-submit entry of step kind "load": takes what `fedspark run` takes."""

import sys

from fedspark.cli import main

if __name__ == "__main__":
    main(["run", "--step", "load", *sys.argv[1:]])
