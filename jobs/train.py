"""spark-submit entry of step kind "train": takes what `fedspark run` takes."""

import sys

from fedspark.cli import main

if __name__ == "__main__":
    main(["run", "--step", "train", *sys.argv[1:]])
