"""``python -m fedspark`` is the command ``fedspark``."""

from fedspark.cli import main

if __name__ == "__main__":
    main()
