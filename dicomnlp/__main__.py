"""``python -m dicomnlp``: the same as the ``dicomnlp`` command."""

from dicomnlp.cli.main import main

if __name__ == "__main__":
    main()
