"""`python -m hangtight` is the command `hangtight`."""

from hangtight.cli import main

if __name__ == "__main__":
    main()
