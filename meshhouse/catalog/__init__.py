"""The catalog: what every product is, whether it can be trusted today, and how to read it.

Belongs here: documents about products, domains and topics (documents.py), gathering them from the
ledger and the declarations, and everything that is made from documents: pages, drawings, the search
index, files for programs. Not here: the commands (cli/), figures of operations and who is notified.
"""
