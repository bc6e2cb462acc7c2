"""spark-submit entry of `fedspark psi-cache`: takes what that takes."""

import sys

from fedspark.cli import main

if __name__ == "__main__":
    main(["psi-cache", *sys.argv[1:]])
