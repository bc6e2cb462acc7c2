"""spark-submit entry of `fedspark import`: takes what that takes."""

import sys

from fedspark.cli import main

if __name__ == "__main__":
    main(["import", *sys.argv[1:]])
