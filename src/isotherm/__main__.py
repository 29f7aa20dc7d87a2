"""`python -m isotherm` is the command `isotherm`."""

from isotherm.cli.main import main

if __name__ == "__main__":
    main()
