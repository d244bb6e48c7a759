"""The command line: parse, call, print, return an exit code.

Belongs here: one module per group of commands, and all that is printed. Not here: decisions, which
the called rooms make.
"""
