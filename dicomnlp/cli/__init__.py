"""The command line: one module per group of commands.

Machine output goes to stdout, messages and progress to stderr. Exit code 0: done; 1: something failed, and the message
says what; 2: wrong usage. What a command needs is imported when it runs, so that ``findings`` doesn't wait for spaCy.
"""
