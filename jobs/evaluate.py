"""spark-submit entry of step kind "evaluate": takes what `fedspark run` takes."""

import sys

from fedspark.cli import main

if __name__ == "__main__":
    main(["run", "--step", "evaluate", *sys.argv[1:]])
